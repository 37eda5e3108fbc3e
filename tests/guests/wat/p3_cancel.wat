;; Effects of cancellation. Every case except /9 waits for an hour's clock, or for its request's body:
;;   /0  when cancelled, cancels its wait and gives up
;;   /1  when cancelled, answers
;;   /2  when cancelled, continues to wait
;;   /3  cancels the wait by itself, without being cancelled. It answers "4" (cancelled before it returned) if that
;;       succeeded at once
;;   /4  reads its request's body, and cancels that read when it must wait. It answers "2" (cancelled) and 16 for
;;       each byte that came
;;   /5  yields until it is cancelled, then gives up
;;   /9  answers with the number of cancellations in this instance
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
    (import "reply" "cancel" (func $cancel (param i32) (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "task.cancel" (func $task.cancel))
    (import "host" "bytes.read" (func $read (param i32 i32 i32) (result i32)))
    (import "host" "bytes.cancel-read" (func $cancel-read (param i32) (result i32)))
    (import "host" "bytes.drop-readable" (func $bytes.drop-readable (param i32)))
    (import "host" "trailers.drop-readable" (func $trailers.drop-readable (param i32)))
    (import "host" "sent.new" (func $sent.new (result i64)))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))

    (global $cancellations (mut i32) (i32.const 0))

    ;; In the record: the case at 24, and the subtask at 28.

    (func $answer (param $record i32) (param $number i32) (result i32)
      (local $at i32) (local $len i32)
      (call $decimal (local.get $number))
      (local.set $len)
      (local.set $at)
      (call $reply (local.get $record) (i32.const 200) (local.get $at) (local.get $len)))

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $case i32) (local $status i32) (local $subtask i32)
      (local.set $record (call $new))
      (local.set $case (call $number (local.get $request) (i32.const 0)))
      (i32.store offset=24 (local.get $record) (local.get $case))
      (if (i32.eq (local.get $case) (i32.const 4))
        (then (return (call $read-in-vain (local.get $record) (local.get $request)))))
      (call $request.drop (local.get $request))
      (if (i32.eq (local.get $case) (i32.const 9))
        (then (return (call $answer (local.get $record) (global.get $cancellations)))))
      ;; yield
      (if (i32.eq (local.get $case) (i32.const 5)) (then (return (i32.const 1))))

      (local.set $status (call $wait-for (i64.const 3600000000000)))
      ;; 1: started
      (if (i32.ne (i32.and (local.get $status) (i32.const 0xf)) (i32.const 1)) (then unreachable))
      (local.set $subtask (i32.shr_u (local.get $status) (i32.const 4)))
      (i32.store offset=28 (local.get $record) (local.get $subtask))
      (if (i32.eq (local.get $case) (i32.const 3))
        (then (return (call $answer (local.get $record) (call $cancel (i32.load offset=28 (local.get $record)))))))
      (call $join (local.get $subtask) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func $read-in-vain (param $record i32) (param $request i32) (result i32)
      (local $handled i64) (local $body i32) (local $how i32)
      (local.set $handled (call $sent.new))
      ;; reply writes and drops this one at the end
      (i32.store offset=12 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $handled) (i64.const 32))))
      ;; a tuple: the body at 0, its trailers at 4
      (call $request.consume (local.get $request) (i32.wrap_i64 (local.get $handled)) (i32.const 0))
      (local.set $body (i32.load (i32.const 0)))
      (call $trailers.drop-readable (i32.load (i32.const 4)))
      (local.set $how (call $read (local.get $body) (i32.const 0x200000) (i32.const 0x10000)))
      (if (i32.eq (local.get $how) (i32.const -1)) (then (local.set $how (call $cancel-read (local.get $body)))))
      (call $bytes.drop-readable (local.get $body))
      (call $answer (local.get $record) (local.get $how)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32) (local $case i32)
      (local.set $record (call $current))
      (local.set $case (i32.load offset=24 (local.get $record)))
      ;; none: it has yielded, and yields again
      (if (i32.eqz (local.get $event)) (then (return (i32.const 1))))
      ;; task-cancelled
      (if (i32.eq (local.get $event) (i32.const 6))
        (then
          (global.set $cancellations (i32.add (global.get $cancellations) (i32.const 1)))
          (if (i32.eq (local.get $case) (i32.const 2)) (then (return (call $wait (local.get $record)))))
          (if (i32.lt_u (local.get $case) (i32.const 2))
            ;; 4: cancelled before it returned; the hour is not over
            (then
              (if (i32.ne (call $cancel (i32.load offset=28 (local.get $record))) (i32.const 4)) (then unreachable))))
          (if (i32.eq (local.get $case) (i32.const 1))
            (then (return (call $answer (local.get $record) (global.get $cancellations)))))
          (call $task.cancel)
          (return (call $exit (local.get $record)))))
      (call $event (local.get $event) (local.get $handle) (local.get $how))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "decimal" (instance $decimal))
    (with "host" (instance $host))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
