;; Answers with the request's own body and trailers. It passes the streams on, so no byte enters this memory. The outcome
;; of the response becomes that of the request's body.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32 i32)))
    (import "host" "response.new" (func $response.new (param i32 i32 i32 i32 i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "context.get" (func $context.get (result i32)))
    (import "host" "context.set" (func $context.set (param i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "set.drop" (func $set.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "sent.new" (func $sent.new (result i64)))
    (import "host" "sent.read" (func $sent.read (param i32 i32) (result i32)))
    (import "host" "sent.write" (func $sent.write (param i32 i32) (result i32)))
    (import "host" "sent.drop-readable" (func $sent.drop-readable (param i32)))
    (import "host" "sent.drop-writable" (func $sent.drop-writable (param i32)))

    ;; A record for each request in progress, from 4096 up: its set at 0, the writable end of the request body's outcome at
    ;; 4, and at 8 a result<_, error-code> of 40 bytes. Free records have the next in their first word.
    (global $free (mut i32) (i32.const 0))
    (global $fresh (mut i32) (i32.const 4096))

    (func $new (result i32)
      (local $record i32)
      (if (local.tee $record (global.get $free))
        (then (global.set $free (i32.load (local.get $record))))
        (else
          (local.set $record (global.get $fresh))
          (global.set $fresh (i32.add (local.get $record) (i32.const 48)))
          (if (i32.gt_u (global.get $fresh) (i32.const 0x100000)) (then unreachable))))
      (local.get $record))

    (func $wait (param $record i32) (param $handle i32) (result i32)
      (call $join (local.get $handle) (i32.load (local.get $record)))
      (i32.or (i32.shl (i32.load (local.get $record)) (i32.const 4)) (i32.const 2)))

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $handled i64) (local $sent i32)
      (local.set $record (call $new))
      (i32.store (local.get $record) (call $set.new))
      (call $context.set (local.get $record))
      (local.set $handled (call $sent.new))
      (i32.store offset=4 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $handled) (i64.const 32))))
      ;; a tuple: the body at 0, its trailers at 4
      (call $request.consume (local.get $request) (i32.wrap_i64 (local.get $handled)) (i32.const 0))
      ;; a tuple: the response at 0, its transmission at 4
      (call $response.new (call $fields.new) (i32.const 1) (i32.load (i32.const 0)) (i32.load (i32.const 4))
        (i32.const 0))
      (local.set $sent (i32.load (i32.const 4)))
      ;; ok(response)
      (call $task.return (i32.const 0) (i32.load (i32.const 0))
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (if (i32.eq (call $sent.read (local.get $sent) (i32.add (local.get $record) (i32.const 8))) (i32.const -1))
        (then (return (call $wait (local.get $record) (local.get $sent)))))
      (call $tell (local.get $record) (local.get $sent)))

    ;; The response is sent, or has failed: tell the request's sender.
    (func $tell (param $record i32) (param $sent i32) (result i32)
      (local $to i32)
      (call $sent.drop-readable (local.get $sent))
      (local.set $to (i32.load offset=4 (local.get $record)))
      (if (i32.eq (call $sent.write (local.get $to) (i32.add (local.get $record) (i32.const 8))) (i32.const -1))
        (then (return (call $wait (local.get $record) (local.get $to)))))
      (call $done (local.get $record)))

    (func $done (param $record i32) (result i32)
      (call $sent.drop-writable (i32.load offset=4 (local.get $record)))
      (call $set.drop (i32.load (local.get $record)))
      (i32.store (local.get $record) (global.get $free))
      (global.set $free (local.get $record))
      (i32.const 0))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      ;; future-read; the other is future-write
      (if (i32.eq (local.get $event) (i32.const 4))
        (then (return (call $tell (call $context.get) (local.get $handle)))))
      (call $done (call $context.get))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
