;; Begins calls of its host that take an hour, as many thousands as the number in the path, and waits for them. At /0 it
;; answers at once. At /1000000 it computes endlessly.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))

    (data (i32.const 96) "none\n")

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $left i32)
      (local.set $record (call $new))
      (local.set $left (i32.mul (call $number (local.get $request) (i32.const 0)) (i32.const 1000)))
      (call $request.drop (local.get $request))
      (if (i32.eq (local.get $left) (i32.const 1000000000)) (then (loop $forever (br $forever))))
      (if (i32.eqz (local.get $left))
        (then (return (call $reply (local.get $record) (i32.const 200) (i32.const 96) (i32.const 5)))))
      (loop $again
        (call $join
          (i32.shr_u (call $wait-for (i64.const 3600000000000)) (i32.const 4))
          (i32.load (local.get $record)))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (call $wait (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (call $event (local.get $event) (local.get $handle) (local.get $how))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
