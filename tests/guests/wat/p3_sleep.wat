;; Answers after the milliseconds in the path, or 1000. Meanwhile it accepts other requests, and may answer them first.
;; When its task is cancelled, it cancels its wait and gives up.
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
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "cancel" (func $cancel (param i32) (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))
    (import "host" "task.cancel" (func $task.cancel))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))

    (data (i32.const 96) "slept\n")

    (func $answer (param $record i32) (result i32)
      (call $reply (local.get $record) (i32.const 200) (i32.const 96) (i32.const 6)))

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $milliseconds i32) (local $status i32) (local $subtask i32)
      (local.set $record (call $new))
      (local.set $milliseconds (call $number (local.get $request) (i32.const 1000)))
      (call $request.drop (local.get $request))
      (local.set $status
        (call $wait-for (i64.mul (i64.extend_i32_u (local.get $milliseconds)) (i64.const 1000000))))
      ;; returned without waiting
      (if (i32.eq (local.get $status) (i32.const 2)) (then (return (call $answer (local.get $record)))))
      ;; keep the subtask at 24, and wait for it
      (local.set $subtask (i32.shr_u (local.get $status) (i32.const 4)))
      (i32.store offset=24 (local.get $record) (local.get $subtask))
      (call $join (local.get $subtask) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; subtask: the time has come, because 2 means that the call has returned
      (if (i32.eq (local.get $event) (i32.const 1))
        (then
          (if (i32.ne (local.get $how) (i32.const 2)) (then unreachable))
          (call $subtask.drop (local.get $handle))
          (return (call $answer (local.get $record)))))
      ;; task-cancelled: after this the call is resolved, either cancelled or returned
      (if (i32.eq (local.get $event) (i32.const 6))
        (then
          (drop (call $cancel (i32.load offset=24 (local.get $record))))
          (call $task.cancel)
          (return (call $exit (local.get $record)))))
      (call $event (local.get $event) (local.get $handle) (local.get $how))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
