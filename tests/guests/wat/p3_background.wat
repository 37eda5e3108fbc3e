;; Works after its answer: after the milliseconds in the path, or 50, it counts. It answers with its count so far; /0 only
;; asks for the count.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat
  ;; include decimal.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))

    (global $count (mut i32) (i32.const 0))

    ;; In the record: the milliseconds of work to do, at 24.

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $milliseconds i32) (local $at i32) (local $len i32)
      (local.set $record (call $new))
      (local.set $milliseconds (call $number (local.get $request) (i32.const 50)))
      (i32.store offset=24 (local.get $record) (local.get $milliseconds))
      (call $request.drop (local.get $request))
      (call $decimal (global.get $count))
      (local.set $len)
      (local.set $at)
      (call $then-work (local.get $milliseconds)
        (call $reply (local.get $record) (i32.const 200) (local.get $at) (local.get $len))))

    ;; Return this code, unless it is exit and work remains: then begin the work, with its own record.
    (func $then-work (param $milliseconds i32) (param $code i32) (result i32)
      (local $record i32) (local $status i32)
      (if (i32.or (local.get $code) (i32.eqz (local.get $milliseconds))) (then (return (local.get $code))))
      (local.set $record (call $new))
      (local.set $status
        (call $wait-for (i64.mul (i64.extend_i32_u (local.get $milliseconds)) (i64.const 1000000))))
      (if (i32.eq (local.get $status) (i32.const 2)) (then (return (call $done (local.get $record)))))
      (call $join (i32.shr_u (local.get $status) (i32.const 4)) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func $done (param $record i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $exit (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      ;; subtask: the work is done
      (if (i32.eq (local.get $event) (i32.const 1))
        (then
          (call $subtask.drop (local.get $handle))
          (return (call $done (call $current)))))
      (call $then-work (i32.load offset=24 (call $current))
        (call $event (local.get $event) (local.get $handle) (local.get $how)))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "decimal" (instance $decimal))
    (with "host" (instance $host))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
