;; Computes for the rounds in the path. All its loops are alike, so the share of a function is its share of the rounds:
;; hot has 16 of 20, warm 3 and cool 1. It gives way between two rounds, so that requests overlap, and then answers.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))

    (data (i32.const 96) "computed\n")

    (func $hot (local $left i32)
      (local.set $left (i32.const 16000000))
      (loop $again
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left))))

    (func $warm (local $left i32)
      (local.set $left (i32.const 3000000))
      (loop $again
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left))))

    (func $cool (local $left i32)
      (local.set $left (i32.const 1000000))
      (loop $again
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left))))

    (func $handle (export "handle") (param $request i32) (result i32)
      (i32.store offset=24 (call $new) (call $number (local.get $request) (i32.const 1)))
      (call $request.drop (local.get $request))
      ;; yield
      (i32.const 1))

    (func $callback (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32) (local $rounds i32)
      (if (local.get $event)
        (then (return (call $event (local.get $event) (local.get $handle) (local.get $how)))))
      (local.set $rounds (i32.load offset=24 (local.tee $record (call $current))))
      (if (i32.eqz (local.get $rounds))
        (then (return (call $reply (local.get $record) (i32.const 200) (i32.const 96) (i32.const 9)))))
      (call $cool)
      (call $hot)
      (call $warm)
      (i32.store offset=24 (local.get $record) (i32.sub (local.get $rounds) (i32.const 1)))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
