;; Well-formed calls that break a rule of the Canonical ABI's streams, futures, calls and tasks. Every case except fine-
;; and may- must trap, some after the response has begun. Hosts differ on cases named may-.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat

  (core func $backpressure.inc (canon backpressure.inc))
  (core func $backpressure.dec (canon backpressure.dec))
  (core func $return-nothing (canon task.return))
  (core func $return-as-utf-16
    (canon task.return (result (result (own $response) (error $error-code))) string-encoding=utf16 (memory $mem)))

  (core module $Main
    (import "more" "backpressure.inc" (func $backpressure.inc))
    (import "more" "backpressure.dec" (func $backpressure.dec))
    (import "host" "context.set" (func $context.set (param i32)))
    (import "more" "return-nothing" (func $return-nothing))
    (import "more" "return-as-utf-16" (func $return-as-utf-16 (param i32 i32 i32 i64 i32 i32 i32 i32)))
    ;; include p3_cases.wat

    (table $cases funcref (elem
      $fine
      $fine-write-to-oneself
      $fine-read-from-oneself
      $fine-drop-ends-a-read
      $fine-cancel-and-go-on
      $fine-write-a-future-without-reader
      $fine-wait-and-poll
      $fine-join-another-set
      $fine-yield
      $fine-cancel-a-call
      $fine-backpressure
      $fine-context
      $may-leave-with-a-call-going-on
      $may-write-trailers-to-oneself
      $read-while-reading
      $write-while-writing
      $drop-while-reading
      $drop-while-writing
      $read-after-the-end
      $write-after-the-end
      $cancel-no-read
      $cancel-no-write
      $cancel-a-read-twice
      $cancel-a-read-that-is-in-a-set
      $drop-a-future-unwritten
      $drop-a-future-after-a-cancelled-write
      $write-a-future-twice
      $write-a-future-while-writing
      $give-away-while-reading
      $give-away-what-is-in-a-set
      $give-away-what-has-ended
      $drop-a-set-with-a-member
      $drop-a-call-going-on
      $cancel-a-call-twice
      $cancel-a-call-that-is-in-a-set
      $too-little-backpressure
      $too-much-backpressure
      $cancel-a-task-that-is-not-cancelled
      $return-twice
      $return-an-error-twice
      $cancel-after-the-response
      $return-another-type
      $return-with-other-options))

    (func $fine (param $request i32) (param $record i32) (result i32) (i32.const -1))

    (func $read (result i32) (call $bytes.read (global.get $readable) (i32.const 1024) (i32.const 64)))
    (func $write (result i32) (call $bytes.write (global.get $writable) (i32.const 1088) (i32.const 64)))

    ;; a writer may read its own bytes; 0x400 is 64 bytes, completed. The cancellation is too late, and returns the count
    ;; too.
    (func $fine-write-to-oneself (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $expect (call $write) (i32.const -1))
      (call $expect (call $read) (i32.const 0x400))
      (call $expect (i32.shr_u (call $bytes.cancel-write (global.get $writable)) (i32.const 4)) (i32.const 64))
      (i32.const -1))

    (func $fine-read-from-oneself (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $expect (call $read) (i32.const -1))
      (call $expect (call $write) (i32.const 0x400))
      (call $expect (i32.shr_u (call $bytes.cancel-read (global.get $readable)) (i32.const 4)) (i32.const 64))
      (i32.const -1))

    ;; 1: the other end is dropped; 2: the copy is cancelled
    (func $fine-drop-ends-a-read (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $expect (call $read) (i32.const -1))
      (call $bytes.drop-writable (global.get $writable))
      (call $expect (call $bytes.cancel-read (global.get $readable)) (i32.const 1))
      (call $bytes.drop-readable (global.get $readable))
      (i32.const -1))

    (func $fine-cancel-and-go-on (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $expect (call $read) (i32.const -1))
      (call $expect (call $bytes.cancel-read (global.get $readable)) (i32.const 2))
      (call $expect (call $read) (i32.const -1))
      (call $bytes.drop-writable (global.get $writable))
      (i32.const -1))

    ;; a future without a reader needs no value; the result is 1
    (func $fine-write-a-future-without-reader (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $trailers.drop-readable (global.get $readable))
      (call $expect (call $trailers.write (global.get $writable) (i32.const 256)) (i32.const 1))
      (call $trailers.drop-writable (global.get $writable))
      (i32.const -1))

    (func $fine-wait-and-poll (param $request i32) (param $record i32) (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $new-bytes)
      (call $join (global.get $writable) (local.get $set))
      (call $expect (call $write) (i32.const -1))
      ;; nothing yet
      (call $expect (call $set.poll (local.get $set) (i32.const 1200)) (i32.const 0))
      (call $expect (call $read) (i32.const 0x400))
      ;; stream-write of this end
      (call $expect (call $set.wait (local.get $set) (i32.const 1200)) (i32.const 3))
      (call $expect (i32.load (i32.const 1200)) (global.get $writable))
      (call $expect (i32.load (i32.const 1204)) (i32.const 0x400))
      (call $expect (call $set.poll (local.get $set) (i32.const 1200)) (i32.const 0))
      (call $join (global.get $writable) (i32.const 0))
      (call $set.drop (local.get $set))
      (i32.const -1))

    ;; a guest gets an event once
    (func $fine-join-another-set (param $request i32) (param $record i32) (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $new-bytes)
      (call $expect (call $write) (i32.const -1))
      (call $join (global.get $writable) (i32.load (local.get $record)))
      (call $expect (call $read) (i32.const 0x400))
      (call $join (global.get $writable) (local.get $set))
      (call $expect (call $set.poll (i32.load (local.get $record)) (i32.const 1200)) (i32.const 0))
      (call $expect (call $set.poll (local.get $set) (i32.const 1200)) (i32.const 3))
      (call $join (global.get $writable) (i32.const 0))
      (call $set.drop (local.get $set))
      (i32.const -1))

    (func $fine-yield (param $request i32) (param $record i32) (result i32)
      (call $expect (call $yield) (i32.const 0))
      (i32.const -1))

    ;; 4: cancelled before it returned
    (func $fine-cancel-a-call (param $request i32) (param $record i32) (result i32)
      (call $expect (call $cancel (call $hour)) (i32.const 4))
      (i32.const -1))

    (func $fine-backpressure (param $request i32) (param $record i32) (result i32)
      (call $backpressure.inc)
      (call $backpressure.dec)
      (i32.const -1))

    (func $fine-context (param $request i32) (param $record i32) (result i32)
      (call $context.set (i32.const -2))
      (call $expect (call $current) (i32.const -2))
      (call $context.set (local.get $record))
      (i32.const -1))

    (func $may-leave-with-a-call-going-on (param $request i32) (param $record i32) (result i32)
      (drop (call $hour))
      (i32.const -1))

    ;; a writer may not yet read its own values that contain handles
    (func $may-write-trailers-to-oneself (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $expect (call $trailers.write (global.get $writable) (i32.const 256)) (i32.const -1))
      (drop (call $trailers.read (global.get $readable) (i32.const 1024)))
      (i32.const -1))

    (func $read-while-reading (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $read))
      (drop (call $read))
      (i32.const -1))

    (func $write-while-writing (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $write))
      (drop (call $write))
      (i32.const -1))

    (func $drop-while-reading (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $read))
      (call $bytes.drop-readable (global.get $readable))
      (i32.const -1))

    (func $drop-while-writing (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $write))
      (call $bytes.drop-writable (global.get $writable))
      (i32.const -1))

    (func $read-after-the-end (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-writable (global.get $writable))
      (call $expect (call $read) (i32.const 1))
      (drop (call $read))
      (i32.const -1))

    (func $write-after-the-end (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-readable (global.get $readable))
      (call $expect (call $write) (i32.const 1))
      (drop (call $write))
      (i32.const -1))

    (func $cancel-no-read (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $bytes.cancel-read (global.get $readable)))
      (i32.const -1))

    (func $cancel-no-write (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $bytes.cancel-write (global.get $writable)))
      (i32.const -1))

    (func $cancel-a-read-twice (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $read))
      (call $expect (call $bytes.cancel-read (global.get $readable)) (i32.const 2))
      (drop (call $bytes.cancel-read (global.get $readable)))
      (i32.const -1))

    (func $cancel-a-read-that-is-in-a-set (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $read))
      (call $join (global.get $readable) (i32.load (local.get $record)))
      (drop (call $bytes.cancel-read (global.get $readable)))
      (i32.const -1))

    (func $drop-a-future-unwritten (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $trailers.drop-writable (global.get $writable))
      (i32.const -1))

    (func $drop-a-future-after-a-cancelled-write (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $expect (call $trailers.write (global.get $writable) (i32.const 256)) (i32.const -1))
      (call $expect (call $trailers.cancel-write (global.get $writable)) (i32.const 2))
      (call $trailers.drop-writable (global.get $writable))
      (i32.const -1))

    (func $write-a-future-twice (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (call $trailers.drop-readable (global.get $readable))
      (drop (call $trailers.write (global.get $writable) (i32.const 256)))
      (drop (call $trailers.write (global.get $writable) (i32.const 256)))
      (i32.const -1))

    (func $write-a-future-while-writing (param $request i32) (param $record i32) (result i32)
      (call $new-trailers)
      (drop (call $trailers.write (global.get $writable) (i32.const 256)))
      (drop (call $trailers.write (global.get $writable) (i32.const 256)))
      (i32.const -1))

    ;; A response with the latest stream as its body.
    (func $respond
      (local $body i32)
      (local.set $body (global.get $readable))
      (call $new-trailers)
      (call $response.new (call $fields.new) (i32.const 1) (local.get $body) (global.get $readable) (i32.const 0)))

    (func $give-away-while-reading (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (drop (call $read))
      (call $respond)
      (i32.const -1))

    (func $give-away-what-is-in-a-set (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $join (global.get $readable) (i32.load (local.get $record)))
      (call $respond)
      (i32.const -1))

    (func $give-away-what-has-ended (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $bytes.drop-writable (global.get $writable))
      (call $expect (call $read) (i32.const 1))
      (call $respond)
      (i32.const -1))

    (func $drop-a-set-with-a-member (param $request i32) (param $record i32) (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $new-bytes)
      (call $join (global.get $readable) (local.get $set))
      (call $set.drop (local.get $set))
      (i32.const -1))

    (func $drop-a-call-going-on (param $request i32) (param $record i32) (result i32)
      (call $subtask.drop (call $hour))
      (i32.const -1))

    (func $cancel-a-call-twice (param $request i32) (param $record i32) (result i32)
      (local $subtask i32)
      (local.set $subtask (call $hour))
      (drop (call $subtask.cancel (local.get $subtask)))
      (drop (call $subtask.cancel (local.get $subtask)))
      (i32.const -1))

    (func $cancel-a-call-that-is-in-a-set (param $request i32) (param $record i32) (result i32)
      (local $subtask i32)
      (local.set $subtask (call $hour))
      (call $join (local.get $subtask) (i32.load (local.get $record)))
      (drop (call $subtask.cancel (local.get $subtask)))
      (i32.const -1))

    (func $too-little-backpressure (param $request i32) (param $record i32) (result i32)
      (call $backpressure.dec)
      (i32.const -1))

    ;; one more than the limit of 65,536
    (func $too-much-backpressure (param $request i32) (param $record i32) (result i32)
      (local $count i32)
      (loop $more
        (call $backpressure.inc)
        (br_if $more (i32.le_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const 0x10000))))
      (i32.const -1))

    (func $cancel-a-task-that-is-not-cancelled (param $request i32) (param $record i32) (result i32)
      (call $task.cancel)
      (i32.const 0))

    ;; after the response

    (func $return-error
      (call $task.return (i32.const 1) (i32.const 37)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))

    (func $return-twice (param $request i32) (param $record i32) (result i32)
      (call $begin (local.get $record) (i32.const 200) (call $text-fields))
      (call $return-error)
      (i32.const 0))

    (func $return-an-error-twice (param $request i32) (param $record i32) (result i32)
      (call $return-error)
      (call $return-error)
      (i32.const 0))

    (func $cancel-after-the-response (param $request i32) (param $record i32) (result i32)
      (call $begin (local.get $record) (i32.const 200) (call $text-fields))
      (call $task.cancel)
      (i32.const 0))

    (func $return-another-type (param $request i32) (param $record i32) (result i32)
      (call $return-nothing)
      (i32.const 0))

    (func $return-with-other-options (param $request i32) (param $record i32) (result i32)
      (call $return-as-utf-16 (i32.const 1) (i32.const 37)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 0)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))
    (with "more" (instance
      (export "backpressure.inc" (func $backpressure.inc))
      (export "backpressure.dec" (func $backpressure.dec))
      (export "return-nothing" (func $return-nothing))
      (export "return-as-utf-16" (func $return-as-utf-16))))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
