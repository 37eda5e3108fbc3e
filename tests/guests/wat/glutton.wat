;; Makes its host hold or do as much as possible, in the way that the path chooses, and answers "done":
;;   /0  fill a GiB of memory in one instruction
;;   /1  pass a string of 120 MiB
;;   /2  the same twenty times
;;   /3  hold 90,000 handles of fields
;;   /4  hold 90,000 outgoing requests, each with a path of 64 KiB
;;   /5  hold 90,000 timers and wait for all of them at once
;;   /6  compute endlessly
;;   /7  nothing
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include host.wat

  (core func $client.request (canon lower (func $http "[constructor]outgoing-request")))
  (core func $client.path
    (canon lower (func $http "[method]outgoing-request.set-path-with-query") (memory $mem)))

  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable'))
    (export "pollable" (type $pollable (eq $pollable')))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core func $clock.wait (canon lower (func $clock "subscribe-duration")))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "fields.get" (func $fields.get (param i32 i32 i32 i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "client" "request" (func $client.request (param i32) (result i32)))
    (import "client" "path" (func $client.path (param i32 i32 i32 i32) (result i32)))
    (import "clock" "wait" (func $wait (param i64) (result i32)))

    (data (i32.const 1024) "done\n")

    ;; Write so many bytes of "a", from 1 MiB on.
    (func $letters (param $size i32) (result i32)
      (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 32))))
        (then unreachable))
      (memory.fill (i32.const 0x100000) (i32.const 0x61) (local.get $size))
      (i32.const 0x100000))

    ;; Pass a string of 120 MiB, the name of an absent field.
    (func $string (param $times i32)
      (local $fields i32) (local $at i32)
      (local.set $at (call $letters (i32.const 0x7800000)))
      (local.set $fields (call $fields.new))
      (loop $again
        (call $fields.get (local.get $fields) (local.get $at) (i32.const 0x7800000) (i32.const 0))
        (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $case i32) (local $left i32) (local $at i32)
      (local.set $case (call $number (local.get $request)))
      (local.set $left (i32.const 90000))
      (block $done
        (if (i32.eq (local.get $case) (i32.const 0))
          (then
            (drop (call $letters (i32.const 0x3fd00000)))
            (br $done)))
        (if (i32.eq (local.get $case) (i32.const 1)) (then (call $string (i32.const 1)) (br $done)))
        (if (i32.eq (local.get $case) (i32.const 2)) (then (call $string (i32.const 20)) (br $done)))
        (br_if $done (i32.eq (local.get $case) (i32.const 7)))
        (if (i32.eq (local.get $case) (i32.const 6)) (then (loop $forever (br $forever))))
        (local.set $at (call $letters (i32.const 0x80000)))
        (loop $again
          (if (i32.eq (local.get $case) (i32.const 3)) (then (drop (call $fields.new))))
          (if (i32.eq (local.get $case) (i32.const 4))
            (then
              (drop (call $client.path
                (call $client.request (call $fields.new))
                (i32.const 1) (local.get $at) (i32.const 0x10000)))))
          (if (i32.eq (local.get $case) (i32.const 5))
            (then
              ;; an hour; the handles' list follows the letters
              (i32.store
                (i32.add (i32.const 0x180000) (i32.shl (local.get $left) (i32.const 2)))
                (call $wait (i64.const 3600000000000)))))
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (if (i32.eq (local.get $case) (i32.const 5))
          (then (call $poll (i32.const 0x180004) (i32.const 90000) (i32.const 0)))))
      (global.set $heap (i32.const 65536))
      (call $respond (local.get $out) (i32.const 200) (i32.const 1024) (i32.const 5))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))
    (with "client" (instance
      (export "request" (func $client.request))
      (export "path" (func $client.path))))
    (with "clock" (instance (export "wait" (func $clock.wait))))))

  ;; include handler.wat
)
