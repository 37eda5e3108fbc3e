;; Takes one request at a time: backpressure is on from a request's beginning until it has waited for the milliseconds
;; in the path, or 100. It answers with the maximum number of requests that have waited at once, which is "1" if the
;; host obeys.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat
  ;; include decimal.wat

  (core func $backpressure.inc (canon backpressure.inc))
  (core func $backpressure.dec (canon backpressure.dec))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "cancel" (func $cancel (param i32) (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))
    (import "host" "task.cancel" (func $task.cancel))
    (import "backpressure" "inc" (func $backpressure.inc))
    (import "backpressure" "dec" (func $backpressure.dec))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))

    (global $waiting (mut i32) (i32.const 0))
    (global $most (mut i32) (i32.const 0))

    ;; Backpressure counts: after turning it on twice, turn it off twice.
    (func $begin-waiting
      (call $backpressure.inc)
      (call $backpressure.inc)
      (call $backpressure.dec)
      (global.set $waiting (i32.add (global.get $waiting) (i32.const 1)))
      (if (i32.gt_u (global.get $waiting) (global.get $most)) (then (global.set $most (global.get $waiting)))))

    (func $end-waiting
      (global.set $waiting (i32.sub (global.get $waiting) (i32.const 1)))
      (call $backpressure.dec))

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $milliseconds i32) (local $status i32)
      (call $begin-waiting)
      (local.set $record (call $new))
      (local.set $milliseconds (call $number (local.get $request) (i32.const 100)))
      (call $request.drop (local.get $request))
      (local.set $status
        (call $wait-for (i64.mul (i64.extend_i32_u (local.get $milliseconds)) (i64.const 1000000))))
      ;; returned without waiting
      (if (i32.eq (local.get $status) (i32.const 2)) (then (return (call $answer (local.get $record)))))
      ;; keep the subtask at 24
      (i32.store offset=24 (local.get $record) (i32.shr_u (local.get $status) (i32.const 4)))
      (call $join (i32.load offset=24 (local.get $record)) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func $answer (param $record i32) (result i32)
      (local $at i32) (local $len i32)
      (call $end-waiting)
      (call $decimal (global.get $most))
      (local.set $len)
      (local.set $at)
      (call $reply (local.get $record) (i32.const 200) (local.get $at) (local.get $len)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; subtask
      (if (i32.eq (local.get $event) (i32.const 1))
        (then
          (call $subtask.drop (local.get $handle))
          (return (call $answer (local.get $record)))))
      ;; task-cancelled
      (if (i32.eq (local.get $event) (i32.const 6))
        (then
          (call $end-waiting)
          (drop (call $cancel (i32.load offset=24 (local.get $record))))
          (call $task.cancel)
          (return (call $exit (local.get $record)))))
      (call $event (local.get $event) (local.get $handle) (local.get $how))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "decimal" (instance $decimal))
    (with "host" (instance $host))
    (with "backpressure" (instance
      (export "inc" (func $backpressure.inc))
      (export "dec" (func $backpressure.dec))))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
