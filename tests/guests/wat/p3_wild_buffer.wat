;; Pointers and lengths outside the memory, or not aligned, for streams, futures, events, and the results of calls.
;; Every case except fine- must trap, and those named may- may.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat
  ;; include p3_client.wat

  (core module $Main
    (import "client" "send" (func $send (param i32 i32) (result i32)))
    (import "host" "request.new" (func $request.new (param i32 i32 i32 i32 i32 i32 i32)))
    ;; include p3_cases.wat

    (table $cases funcref (elem
      $fine
      $fine-write-the-last-byte
      $fine-write-nothing-at-the-end
      $fine-write-nothing-anywhere
      $write-past-the-end
      $write-over-the-end
      $write-negative-pointer
      $write-pointer-and-length-overflow
      $write-too-long
      $write-negative-length
      $fine-read-the-last-byte
      $fine-read-nothing-anywhere
      $read-past-the-end
      $read-over-the-end
      $read-negative-pointer
      $read-too-long
      $read-negative-length
      $fine-trailers
      $write-trailers-over-the-end
      $write-trailers-past-the-end
      $write-trailers-unaligned
      $fine-read-trailers
      $read-trailers-over-the-end
      $read-trailers-negative
      $read-trailers-unaligned
      $fine-wait
      $wait-over-the-end
      $wait-past-the-end
      $wait-unaligned
      $poll-past-the-end
      $may-poll-nothing-past-the-end
      $return-text-over-the-end
      $return-text-of-negative-length
      $return-text-that-is-not-utf-8
      $fine-send
      $send-with-result-over-the-end
      $send-with-result-negative
      $send-with-result-unaligned))

    (func $fine (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $expect (call $bytes.write (global.get $writable) (i32.const 1024) (i32.const 64)) (i32.const -1))
      (call $expect (call $bytes.cancel-write (global.get $writable)) (i32.const 2))
      (i32.const -1))

    (func $write (param $at i32) (param $len i32) (result i32)
      (call $new-bytes)
      (call $expect (call $bytes.write (global.get $writable) (local.get $at) (local.get $len)) (i32.const -1))
      (call $expect (call $bytes.cancel-write (global.get $writable)) (i32.const 2))
      (i32.const -1))

    (func $read (param $at i32) (param $len i32) (result i32)
      (call $new-bytes)
      (call $expect (call $bytes.read (global.get $readable) (local.get $at) (local.get $len)) (i32.const -1))
      (call $expect (call $bytes.cancel-read (global.get $readable)) (i32.const 2))
      (i32.const -1))

    (func $fine-write-the-last-byte (param $request i32) (param $record i32) (result i32)
      (call $write (i32.sub (call $end-of-memory) (i32.const 1)) (i32.const 1)))
    (func $fine-write-nothing-at-the-end (param $request i32) (param $record i32) (result i32)
      (call $write (call $end-of-memory) (i32.const 0)))
    ;; a length of zero needs no valid pointer
    (func $fine-write-nothing-anywhere (param $request i32) (param $record i32) (result i32)
      (call $write (i32.const -8) (i32.const 0)))
    (func $write-past-the-end (param $request i32) (param $record i32) (result i32)
      (call $write (call $end-of-memory) (i32.const 1)))
    (func $write-over-the-end (param $request i32) (param $record i32) (result i32)
      (call $write (i32.sub (call $end-of-memory) (i32.const 1)) (i32.const 2)))
    (func $write-negative-pointer (param $request i32) (param $record i32) (result i32)
      (call $write (i32.const -1) (i32.const 1)))
    (func $write-pointer-and-length-overflow (param $request i32) (param $record i32) (result i32)
      (call $write (i32.const -16) (i32.const 0x0fffffff)))
    (func $write-too-long (param $request i32) (param $record i32) (result i32)
      (call $write (i32.const 1024) (i32.const 0x10000000)))
    (func $write-negative-length (param $request i32) (param $record i32) (result i32)
      (call $write (i32.const 1024) (i32.const -1)))
    (func $fine-read-the-last-byte (param $request i32) (param $record i32) (result i32)
      (call $read (i32.sub (call $end-of-memory) (i32.const 1)) (i32.const 1)))
    (func $fine-read-nothing-anywhere (param $request i32) (param $record i32) (result i32)
      (call $read (i32.const -8) (i32.const 0)))
    (func $read-past-the-end (param $request i32) (param $record i32) (result i32)
      (call $read (call $end-of-memory) (i32.const 1)))
    (func $read-over-the-end (param $request i32) (param $record i32) (result i32)
      (call $read (i32.sub (call $end-of-memory) (i32.const 1)) (i32.const 2)))
    (func $read-negative-pointer (param $request i32) (param $record i32) (result i32)
      (call $read (i32.const -1) (i32.const 1)))
    (func $read-too-long (param $request i32) (param $record i32) (result i32)
      (call $read (i32.const 1024) (i32.const 0x10000000)))
    (func $read-negative-length (param $request i32) (param $record i32) (result i32)
      (call $read (i32.const 1024) (i32.const -1)))

    (func $write-trailers (param $at i32) (result i32)
      (call $new-trailers)
      (call $expect (call $trailers.write (global.get $writable) (local.get $at)) (i32.const -1))
      (call $expect (call $trailers.cancel-write (global.get $writable)) (i32.const 2))
      (i32.const -1))

    (func $read-trailers (param $at i32) (result i32)
      (call $new-trailers)
      (call $expect (call $trailers.read (global.get $readable) (local.get $at)) (i32.const -1))
      (call $expect (call $trailers.cancel-read (global.get $readable)) (i32.const 2))
      (i32.const -1))

    ;; a result<option<fields>, error-code> has 40 bytes and is aligned to 8
    (func $fine-trailers (param $request i32) (param $record i32) (result i32)
      (call $write-trailers (i32.sub (call $end-of-memory) (i32.const 40))))
    (func $write-trailers-over-the-end (param $request i32) (param $record i32) (result i32)
      (call $write-trailers (i32.sub (call $end-of-memory) (i32.const 32))))
    (func $write-trailers-past-the-end (param $request i32) (param $record i32) (result i32)
      (call $write-trailers (call $end-of-memory)))
    (func $write-trailers-unaligned (param $request i32) (param $record i32) (result i32)
      (call $write-trailers (i32.const 1028)))
    (func $fine-read-trailers (param $request i32) (param $record i32) (result i32)
      (call $read-trailers (i32.sub (call $end-of-memory) (i32.const 40))))
    (func $read-trailers-over-the-end (param $request i32) (param $record i32) (result i32)
      (call $read-trailers (i32.sub (call $end-of-memory) (i32.const 32))))
    (func $read-trailers-negative (param $request i32) (param $record i32) (result i32)
      (call $read-trailers (i32.const -8)))
    (func $read-trailers-unaligned (param $request i32) (param $record i32) (result i32)
      (call $read-trailers (i32.const 1028)))

    ;; a set with an event: a stream's other end is dropped
    (func $set-with-an-event (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $new-bytes)
      (drop (call $bytes.read (global.get $readable) (i32.const 1024) (i32.const 64)))
      (call $join (global.get $readable) (local.get $set))
      (call $bytes.drop-writable (global.get $writable))
      (local.get $set))

    (func $fine-wait (param $request i32) (param $record i32) (result i32)
      (call $expect
        (call $set.wait (call $set-with-an-event) (i32.sub (call $end-of-memory) (i32.const 8)))
        (i32.const 2))
      (i32.const -1))

    (func $wait-over-the-end (param $request i32) (param $record i32) (result i32)
      (drop (call $set.wait (call $set-with-an-event) (i32.sub (call $end-of-memory) (i32.const 4))))
      (i32.const -1))

    (func $wait-past-the-end (param $request i32) (param $record i32) (result i32)
      (drop (call $set.wait (call $set-with-an-event) (call $end-of-memory)))
      (i32.const -1))

    (func $wait-unaligned (param $request i32) (param $record i32) (result i32)
      (drop (call $set.wait (call $set-with-an-event) (i32.const 1025)))
      (i32.const -1))

    (func $poll-past-the-end (param $request i32) (param $record i32) (result i32)
      (drop (call $set.poll (call $set-with-an-event) (call $end-of-memory)))
      (i32.const -1))

    ;; without an event, the host still writes two zeros
    (func $may-poll-nothing-past-the-end (param $request i32) (param $record i32) (result i32)
      (drop (call $set.poll (call $set.new) (call $end-of-memory)))
      (i32.const -1))

    ;; error(internal-error(some(text)))
    (func $return-text (param $at i32) (param $len i32)
      (call $task.return (i32.const 1) (i32.const 38)
        (i32.const 1) (i64.extend_i32_u (local.get $at)) (local.get $len) (i32.const 0) (i32.const 0) (i32.const 0)))

    (func $return-text-over-the-end (param $request i32) (param $record i32) (result i32)
      (call $return-text (i32.sub (call $end-of-memory) (i32.const 1)) (i32.const 2))
      (i32.const 0))

    (func $return-text-of-negative-length (param $request i32) (param $record i32) (result i32)
      (call $return-text (i32.const 200) (i32.const -1))
      (i32.const 0))

    (func $return-text-that-is-not-utf-8 (param $request i32) (param $record i32) (result i32)
      (i32.store (i32.const 1024) (i32.const 0xfffefdfc))
      (call $return-text (i32.const 1024) (i32.const 4))
      (i32.const 0))

    ;; Send an invalid request, without an authority, and wait for the result: a
    ;; result<response, error-code> has 40 bytes and is aligned to 8.
    (func $send-and-wait (param $at i32) (result i32)
      (local $status i32) (local $set i32)
      (call $new-trailers)
      ;; without a body and without options
      (call $request.new (call $fields.new) (i32.const 0) (i32.const 0) (global.get $readable)
        (i32.const 0) (i32.const 0) (i32.const 0))
      (local.set $status (call $send (i32.load (i32.const 0)) (local.get $at)))
      (if (i32.ne (local.get $status) (i32.const 2))
        (then
          (local.set $set (call $set.new))
          (call $join (i32.shr_u (local.get $status) (i32.const 4)) (local.get $set))
          (drop (call $set.wait (local.get $set) (i32.const 1200)))))
      (i32.const -1))

    (func $fine-send (param $request i32) (param $record i32) (result i32)
      (call $send-and-wait (i32.sub (call $end-of-memory) (i32.const 40))))
    (func $send-with-result-over-the-end (param $request i32) (param $record i32) (result i32)
      (call $send-and-wait (i32.sub (call $end-of-memory) (i32.const 32))))
    (func $send-with-result-negative (param $request i32) (param $record i32) (result i32)
      (call $send-and-wait (i32.const -8)))
    (func $send-with-result-unaligned (param $request i32) (param $record i32) (result i32)
      (call $send-and-wait (i32.const 1028))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))
    (with "client" (instance (export "send" (func $client.send))))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
