;; Passes its request to the next handler, and adds x-middleware: passed to the response. It passes the body and
;; trailers on unseen. When its task is cancelled, it cancels that call.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_reply.wat
  ;; include p3_next.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "cancel" (func $cancel (param i32) (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "next" "handle" (func $call-on (param i32 i32) (result i32)))
    (import "host" "fields.append" (func $fields.append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "fields.clone" (func $fields.clone (param i32) (result i32)))
    (import "host" "fields.drop" (func $fields.drop (param i32)))
    (import "host" "response.new" (func $response.new (param i32 i32 i32 i32 i32)))
    (import "host" "response.status" (func $response.status (param i32) (result i32)))
    (import "host" "response.set-status" (func $response.set-status (param i32 i32) (result i32)))
    (import "host" "response.headers" (func $response.headers (param i32) (result i32)))
    (import "host" "response.consume" (func $response.consume (param i32 i32 i32)))
    (import "host" "response.drop" (func $response.drop (param i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "task.cancel" (func $task.cancel))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))
    (import "host" "sent.new" (func $sent.new (result i64)))
    (import "host" "sent.read" (func $sent.read (param i32 i32) (result i32)))
    (import "host" "sent.write" (func $sent.write (param i32 i32) (result i32)))
    (import "host" "sent.drop-readable" (func $sent.drop-readable (param i32)))
    (import "host" "sent.drop-writable" (func $sent.drop-writable (param i32)))

    (data (i32.const 96) "x-middleware")
    (data (i32.const 112) "passed")
    (data (i32.const 128) "the next handler failed")

    ;; In the record: the call's subtask at 24. From 72 on, instead of reply's texts, the call's result, a
    ;; result<response, error-code> of 40 bytes: its case at 72, the response at 80. Later the response's transmission, a
    ;; result<_, error-code> of the same size.

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $status i32)
      (local.set $record (call $new))
      (local.set $status (call $call-on (local.get $request) (i32.add (local.get $record) (i32.const 72))))
      ;; returned without waiting
      (if (i32.eq (local.get $status) (i32.const 2)) (then (return (call $returned (local.get $record)))))
      (i32.store offset=24 (local.get $record) (i32.shr_u (local.get $status) (i32.const 4)))
      (call $join (i32.load offset=24 (local.get $record)) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func $returned (param $record i32) (result i32)
      (local $response i32) (local $status i32) (local $headers i32) (local $fields i32) (local $handled i64)
      (local $sent i32)
      (if (i32.load8_u offset=72 (local.get $record))
        (then
          ;; error(internal-error(some(text)))
          (call $task.return (i32.const 1) (i32.const 38)
            (i32.const 1) (i64.const 128) (i32.const 23) (i32.const 0) (i32.const 0) (i32.const 0))
          (return (call $exit (local.get $record)))))
      (local.set $response (i32.load offset=80 (local.get $record)))
      (local.set $status (call $response.status (local.get $response)))
      ;; the headers of a response cannot change, so this is a new response
      (local.set $headers (call $response.headers (local.get $response)))
      (local.set $fields (call $fields.clone (local.get $headers)))
      (call $fields.drop (local.get $headers))
      (call $fields.append (local.get $fields) (i32.const 96) (i32.const 12) (i32.const 112) (i32.const 6)
        (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (local.set $handled (call $sent.new))
      (i32.store offset=12 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $handled) (i64.const 32))))
      ;; a tuple: the body at 0, its trailers at 4
      (call $response.consume (local.get $response) (i32.wrap_i64 (local.get $handled)) (i32.const 0))
      ;; a tuple: the response at 0, its transmission at 4
      (call $response.new (local.get $fields) (i32.const 1) (i32.load (i32.const 0)) (i32.load (i32.const 4))
        (i32.const 0))
      (local.set $response (i32.load (i32.const 0)))
      (local.set $sent (i32.load (i32.const 4)))
      (if (call $response.set-status (local.get $response) (local.get $status)) (then unreachable))
      ;; ok(response)
      (call $task.return (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (if (i32.eq (call $sent.read (local.get $sent) (i32.add (local.get $record) (i32.const 72))) (i32.const -1))
        (then
          (call $join (local.get $sent) (i32.load (local.get $record)))
          (return (call $wait (local.get $record)))))
      (call $tell (local.get $record) (local.get $sent)))

    ;; The response is sent, or has failed: tell the sender of its body.
    (func $tell (param $record i32) (param $sent i32) (result i32)
      (local $to i32)
      (call $sent.drop-readable (local.get $sent))
      (local.set $to (i32.load offset=12 (local.get $record)))
      (if (i32.eq (call $sent.write (local.get $to) (i32.add (local.get $record) (i32.const 72))) (i32.const -1))
        (then
          (call $join (local.get $to) (i32.load (local.get $record)))
          (return (call $wait (local.get $record)))))
      (call $told (local.get $record)))

    (func $told (param $record i32) (result i32)
      (call $sent.drop-writable (i32.load offset=12 (local.get $record)))
      (call $exit (local.get $record)))

    ;; Cancel the call. If it has returned after all, drop its result.
    (func $give-up (param $record i32) (result i32)
      (if (i32.eq (call $cancel (i32.load offset=24 (local.get $record))) (i32.const 2))
        (then (if (i32.eqz (i32.load8_u offset=72 (local.get $record)))
          (then (call $response.drop (i32.load offset=80 (local.get $record)))))))
      (call $task.cancel)
      (call $exit (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; subtask
      (if (i32.eq (local.get $event) (i32.const 1))
        (then
          ;; 1: started, which is no news; 2: returned
          (if (i32.ne (local.get $how) (i32.const 2)) (then (return (call $wait (local.get $record)))))
          (call $subtask.drop (local.get $handle))
          (return (call $returned (local.get $record)))))
      ;; future-read, future-write, task-cancelled
      (if (i32.eq (local.get $event) (i32.const 4))
        (then (return (call $tell (local.get $record) (local.get $handle)))))
      (if (i32.eq (local.get $event) (i32.const 5)) (then (return (call $told (local.get $record)))))
      (if (i32.eq (local.get $event) (i32.const 6)) (then (return (call $give-up (local.get $record)))))
      unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "reply" (instance $reply))
    (with "next" (instance (export "handle" (func $next.handle))))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
