;; Handles of streams, futures, sets and calls that are invalid, of the wrong type, or used up. Every case except
;; fine- must trap.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat

  (core module $Main
    ;; include p3_cases.wat

    (table $cases funcref (elem
      $fine
      $read-zero
      $read-huge
      $read-negative
      $read-never-given
      $read-resource
      $read-set
      $read-writable
      $read-future
      $read-after-drop
      $write-never-given
      $write-readable
      $write-after-drop
      $write-future-of-another-type
      $read-future-of-another-type
      $write-stream-as-future
      $drop-never-given
      $drop-readable-twice
      $drop-writable-twice
      $drop-readable-as-writable
      $drop-future-as-stream
      $drop-future-of-another-type
      $drop-stream-as-resource
      $drop-resource-as-stream
      $cancel-read-never-given
      $cancel-write-of-readable
      $join-never-given
      $join-resource
      $join-a-set-to-itself
      $join-to-no-set
      $join-to-a-stream
      $join-to-a-dropped-set
      $wait-for-no-set
      $wait-for-a-stream
      $poll-no-set
      $poll-zero
      $drop-set-twice
      $drop-stream-as-set
      $cancel-no-subtask
      $cancel-a-stream
      $drop-no-subtask
      $drop-subtask-twice
      $drop-subtask-as-stream
      $fine-respond
      $body-never-given
      $body-that-is-writable
      $body-that-is-a-future
      $body-given-away-twice
      $read-after-it-was-given-away
      $trailers-never-given
      $trailers-of-another-type
      $one-handle-as-two
      $consume-with-no-future
      $consume-twice
      $return-no-response
      $return-the-request
      $fields-never-given))

    (func $fine (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-readable (global.get $readable))
      (call $bytes.drop-writable (global.get $writable))
      (i32.const -1))

    (func $read (param $handle i32) (result i32)
      (drop (call $bytes.read (local.get $handle) (i32.const 1024) (i32.const 64)))
      (i32.const -1))

    (func $read-zero (param $request i32) (param $record i32) (result i32) (call $read (i32.const 0)))
    ;; one more than the maximum index of a table
    (func $read-huge (param $request i32) (param $record i32) (result i32) (call $read (i32.const 0x10000000)))
    (func $read-negative (param $request i32) (param $record i32) (result i32) (call $read (i32.const -1)))
    (func $read-never-given (param $request i32) (param $record i32) (result i32) (call $read (i32.const 1000)))
    (func $read-resource (param $request i32) (param $record i32) (result i32) (call $read (local.get $request)))
    (func $read-set (param $request i32) (param $record i32) (result i32) (call $read (call $set.new)))

    (func $read-writable (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $read (global.get $writable)))

    (func $read-future (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $read (global.get $readable)))

    (func $read-after-drop (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-readable (global.get $readable))
      (call $read (global.get $readable)))

    (func $write-never-given (param $request i32) (param $record i32) (result i32)
      (drop (call $bytes.write (i32.const 1000) (i32.const 1024) (i32.const 64)))
      (i32.const -1))

    (func $write-readable (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $bytes.write (global.get $readable) (i32.const 1024) (i32.const 64)))
      (i32.const -1))

    (func $write-after-drop (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-writable (global.get $writable))
      (drop (call $bytes.write (global.get $writable) (i32.const 1024) (i32.const 64)))
      (i32.const -1))

    (func $write-future-of-another-type (param $request i32) (param $record i32) (result i32)
      (call $new-sent)
      (drop (call $trailers.write (global.get $writable) (i32.const 256)))
      (i32.const -1))

    (func $read-future-of-another-type (param $request i32) (param $record i32) (result i32)
      (call $new-sent)
      (drop (call $trailers.read (global.get $readable) (i32.const 1024)))
      (i32.const -1))

    (func $write-stream-as-future (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $trailers.write (global.get $writable) (i32.const 256)))
      (i32.const -1))

    (func $drop-never-given (param $request i32) (param $record i32) (result i32)
      (call $bytes.drop-readable (i32.const 1000))
      (i32.const -1))

    (func $drop-readable-twice (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-readable (global.get $readable))
      (call $bytes.drop-readable (global.get $readable))
      (i32.const -1))

    (func $drop-writable-twice (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-writable (global.get $writable))
      (call $bytes.drop-writable (global.get $writable))
      (i32.const -1))

    (func $drop-readable-as-writable (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-writable (global.get $readable))
      (i32.const -1))

    (func $drop-future-as-stream (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $bytes.drop-readable (global.get $readable))
      (i32.const -1))

    (func $drop-future-of-another-type (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $sent.drop-readable (global.get $readable))
      (i32.const -1))

    (func $drop-stream-as-resource (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $fields.drop (global.get $readable))
      (i32.const -1))

    (func $drop-resource-as-stream (param $request i32) (param $record i32) (result i32)
      (call $bytes.drop-readable (local.get $request))
      (i32.const -1))

    (func $cancel-read-never-given (param $request i32) (param $record i32) (result i32)
      (drop (call $bytes.cancel-read (i32.const 1000)))
      (i32.const -1))

    (func $cancel-write-of-readable (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $bytes.read (global.get $readable) (i32.const 1024) (i32.const 64)))
      (drop (call $bytes.cancel-write (global.get $readable)))
      (i32.const -1))

    (func $join-never-given (param $request i32) (param $record i32) (result i32)
      (call $join (i32.const 1000) (i32.load (local.get $record)))
      (i32.const -1))

    (func $join-resource (param $request i32) (param $record i32) (result i32)
      (call $join (local.get $request) (i32.load (local.get $record)))
      (i32.const -1))

    (func $join-a-set-to-itself (param $request i32) (param $record i32) (result i32)
      (call $join (i32.load (local.get $record)) (i32.load (local.get $record)))
      (i32.const -1))

    (func $join-to-no-set (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $join (global.get $readable) (i32.const 1000))
      (i32.const -1))

    (func $join-to-a-stream (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $join (global.get $readable) (global.get $writable))
      (i32.const -1))

    (func $join-to-a-dropped-set (param $request i32) (param $record i32) (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $set.drop (local.get $set))
      (call $new-bytes)
      (call $join (global.get $readable) (local.get $set))
      (i32.const -1))

    (func $wait-for-no-set (param $request i32) (param $record i32) (result i32)
      (drop (call $set.wait (i32.const 1000) (i32.const 1024)))
      (i32.const -1))

    (func $wait-for-a-stream (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $set.wait (global.get $readable) (i32.const 1024)))
      (i32.const -1))

    (func $poll-no-set (param $request i32) (param $record i32) (result i32)
      (drop (call $set.poll (i32.const 1000) (i32.const 1024)))
      (i32.const -1))

    (func $poll-zero (param $request i32) (param $record i32) (result i32)
      (drop (call $set.poll (i32.const 0) (i32.const 1024)))
      (i32.const -1))

    (func $drop-set-twice (param $request i32) (param $record i32) (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $set.drop (local.get $set))
      (call $set.drop (local.get $set))
      (i32.const -1))

    (func $drop-stream-as-set (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $set.drop (global.get $readable))
      (i32.const -1))

    (func $cancel-no-subtask (param $request i32) (param $record i32) (result i32)
      (drop (call $subtask.cancel (i32.const 1000)))
      (i32.const -1))

    (func $cancel-a-stream (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $subtask.cancel (global.get $readable)))
      (i32.const -1))

    (func $drop-no-subtask (param $request i32) (param $record i32) (result i32)
      (call $subtask.drop (i32.const 1000))
      (i32.const -1))

    (func $drop-subtask-twice (param $request i32) (param $record i32) (result i32)
      (local $subtask i32)
      (local.set $subtask (call $hour))
      (drop (call $cancel (local.get $subtask)))
      (call $subtask.drop (local.get $subtask))
      (i32.const -1))

    (func $drop-subtask-as-stream (param $request i32) (param $record i32) (result i32)
      (call $bytes.drop-readable (call $hour))
      (i32.const -1))

    ;; A response with this body and these trailers.
    (func $respond (param $body i32) (param $trailers i32) (result i32)
      (call $response.new (call $fields.new) (i32.const 1) (local.get $body) (local.get $trailers) (i32.const 0))
      (call $response.drop (i32.load (i32.const 0)))
      (i32.const -1))

    (func $fine-respond (param $request i32) (param $record i32) (result i32)
      (local $body i32)
      (call $new-bytes)
      (local.set $body (global.get $readable))
      (call $new-trailers)
      (call $respond (local.get $body) (global.get $readable)))

    (func $body-never-given (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $respond (i32.const 1000) (global.get $readable)))

    (func $body-that-is-writable (param $request i32) (param $record i32) (result i32)
      (local $body i32)
      (call $new-bytes)
      (local.set $body (global.get $writable))
      (call $new-trailers)
      (call $respond (local.get $body) (global.get $readable)))

    (func $body-that-is-a-future (param $request i32) (param $record i32) (result i32)
      (local $body i32)
      (call $new-trailers)
      (local.set $body (global.get $readable))
      (call $new-trailers)
      (call $respond (local.get $body) (global.get $readable)))

    (func $body-given-away-twice (param $request i32) (param $record i32) (result i32)
      (local $body i32)
      (call $new-bytes)
      (local.set $body (global.get $readable))
      (call $new-trailers)
      (drop (call $respond (local.get $body) (global.get $readable)))
      (call $new-trailers)
      (call $respond (local.get $body) (global.get $readable)))

    (func $read-after-it-was-given-away (param $request i32) (param $record i32) (result i32)
      (local $body i32)
      (call $new-bytes)
      (local.set $body (global.get $readable))
      (call $new-trailers)
      (drop (call $respond (local.get $body) (global.get $readable)))
      ;; the response's own handles, no streams, may have its index
      (call $read (local.get $body)))

    (func $trailers-never-given (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $respond (global.get $readable) (i32.const 1000)))

    (func $trailers-of-another-type (param $request i32) (param $record i32) (result i32)
      (local $body i32)
      (call $new-bytes)
      (local.set $body (global.get $readable))
      (call $new-sent)
      (call $respond (local.get $body) (global.get $readable)))

    (func $one-handle-as-two (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $respond (global.get $readable) (global.get $readable)))

    (func $consume-with-no-future (param $request i32) (param $record i32) (result i32)
      (call $request.consume (local.get $request) (i32.const 1000) (i32.const 0))
      (i32.const -1))

    (func $consume-twice (param $request i32) (param $record i32) (result i32)
      (drop (call $body-of (local.get $request)))
      (drop (call $body-of (local.get $request)))
      (i32.const -1))

    (func $return-no-response (param $request i32) (param $record i32) (result i32)
      (call $task.return (i32.const 0) (i32.const 1000)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 0))

    (func $return-the-request (param $request i32) (param $record i32) (result i32)
      (call $task.return (i32.const 0) (local.get $request)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 0))

    ;; trailers of ok(some(fields)) with an invalid handle
    (func $fields-never-given (param $request i32) (param $record i32) (result i32)
      (call $begin (local.get $record) (i32.const 200) (call $text-fields))
      (call $bytes.drop-writable (i32.load offset=4 (local.get $record)))
      (i32.store (i32.const 1032) (i32.const 1))
      (i32.store (i32.const 1036) (i32.const 1000))
      (call $end-with (local.get $record) (i32.const 1024))))
  ;; include p3_main.wat

  ;; include p3_handler.wat
)
