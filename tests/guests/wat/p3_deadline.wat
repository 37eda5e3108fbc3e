;; Passes requests to the next handler with a limit of 100 milliseconds. It passes on a response that comes in time. Then
;; it cancels the call, and passes on a response that comes all the same. Otherwise it answers 504 with the call's final
;; state: "4" for cancelled before it returned, "3" for cancelled before it started. It waits for the cancelled call, so
;; the next handler must not ignore cancellation.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat
  ;; include p3_next.wat
  ;; include decimal.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "cancel" (func $cancel (param i32) (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))
    (import "next" "handle" (func $call-on (param i32 i32) (result i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "task.cancel" (func $task.cancel))
    (import "host" "response.drop" (func $response.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))

    (data (i32.const 128) "the next handler failed")

    ;; In the record: the call at 24, the clock's call at 28. From 72 on, instead of reply's texts, the call's result, a
    ;; result<response, error-code> of 40 bytes: its case at 72, the response at 80.

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $status i32)
      (local.set $record (call $new))
      (local.set $status (call $call-on (local.get $request) (i32.add (local.get $record) (i32.const 72))))
      ;; returned without waiting
      (if (i32.eq (local.get $status) (i32.const 2)) (then (return (call $hand-on (local.get $record)))))
      (i32.store offset=24 (local.get $record) (i32.shr_u (local.get $status) (i32.const 4)))
      (i32.store offset=28 (local.get $record) (i32.shr_u (call $wait-for (i64.const 100000000)) (i32.const 4)))
      (call $join (i32.load offset=24 (local.get $record)) (i32.load (local.get $record)))
      (call $join (i32.load offset=28 (local.get $record)) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func $hand-on (param $record i32) (result i32)
      (if (i32.load8_u offset=72 (local.get $record))
        (then
          ;; error(internal-error(some(text)))
          (call $task.return (i32.const 1) (i32.const 38)
            (i32.const 1) (i64.const 128) (i32.const 23) (i32.const 0) (i32.const 0) (i32.const 0)))
        (else
          ;; ok(response)
          (call $task.return (i32.const 0) (i32.load offset=80 (local.get $record))
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
      (call $exit (local.get $record)))

    (func $too-late (param $record i32) (result i32)
      (local $state i32) (local $at i32) (local $len i32)
      (call $subtask.drop (i32.load offset=28 (local.get $record)))
      (local.set $state (call $cancel (i32.load offset=24 (local.get $record))))
      (if (i32.eq (local.get $state) (i32.const 2)) (then (return (call $hand-on (local.get $record)))))
      (call $decimal (local.get $state))
      (local.set $len)
      (local.set $at)
      (call $reply (local.get $record) (i32.const 504) (local.get $at) (local.get $len)))

    (func $give-up (param $record i32) (result i32)
      (drop (call $cancel (i32.load offset=28 (local.get $record))))
      ;; it may have returned a response after all
      (if (i32.eq (call $cancel (i32.load offset=24 (local.get $record))) (i32.const 2))
        (then (if (i32.eqz (i32.load8_u offset=72 (local.get $record)))
          (then (call $response.drop (i32.load offset=80 (local.get $record)))))))
      (call $task.cancel)
      (call $exit (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; task-cancelled
      (if (i32.eq (local.get $event) (i32.const 6)) (then (return (call $give-up (local.get $record)))))
      ;; the event for reply
      (if (i32.ne (local.get $event) (i32.const 1))
        (then (return (call $event (local.get $event) (local.get $handle) (local.get $how)))))
      (if (i32.eq (local.get $handle) (i32.load offset=28 (local.get $record)))
        (then (return (call $too-late (local.get $record)))))
      ;; 1: started, which is no news; 2: returned
      (if (i32.ne (local.get $how) (i32.const 2)) (then (return (call $wait (local.get $record)))))
      (call $subtask.drop (local.get $handle))
      (drop (call $cancel (i32.load offset=28 (local.get $record))))
      (call $hand-on (local.get $record))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "reply" (instance $reply))
    (with "decimal" (instance $decimal))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))
    (with "next" (instance (export "handle" (func $next.handle))))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
