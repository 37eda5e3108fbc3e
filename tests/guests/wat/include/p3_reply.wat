  ;; The common parts of most guests: a record for each request in progress, a waitable set, and the answer.
  ;; A function that returns a code returns the result of `handle` or `callback`: wait with this request's set, or exit.
  ;;
  ;; A record, 128 bytes:
  ;;    0  the waitable set
  ;;    4  the writable end of the response's body; 0 before it exists and after it is dropped
  ;;    8  the writable end of its trailers, the same
  ;;   12  the writable end of the request body's outcome: if a guest puts it here, `end` writes ok to it
  ;;   16  the address of the unwritten rest of the body, and at 20 its length
  ;;   24  for the guest, initially zeros
  ;;   48  for the guest, as the record's previous request left it
  ;;   64  a short text
  (core module $Reply
    (import "memory" "memory" (memory 1))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "response.new" (func $response.new (param i32 i32 i32 i32 i32)))
    (import "host" "response.set-status" (func $response.set-status (param i32 i32) (result i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "context.get" (func $context.get (result i32)))
    (import "host" "context.set" (func $context.set (param i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "set.drop" (func $set.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.cancel" (func $subtask.cancel (param i32) (result i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))
    (import "host" "bytes.new" (func $bytes.new (result i64)))
    (import "host" "bytes.write" (func $bytes.write (param i32 i32 i32) (result i32)))
    (import "host" "bytes.drop-writable" (func $bytes.drop-writable (param i32)))
    (import "host" "trailers.new" (func $trailers.new (result i64)))
    (import "host" "trailers.write" (func $trailers.write (param i32 i32) (result i32)))
    (import "host" "trailers.drop-writable" (func $trailers.drop-writable (param i32)))
    (import "host" "sent.write" (func $sent.write (param i32 i32) (result i32)))
    (import "host" "sent.drop-writable" (func $sent.drop-writable (param i32)))
    (import "host" "sent.drop-readable" (func $sent.drop-readable (param i32)))

    ;; a list of one header: the string "content-type" and the list<u8> "text/plain"
    (data (i32.const 40) "\40\00\00\00" "\0c\00\00\00" "\50\00\00\00" "\0a\00\00\00")
    (data (i32.const 64) "content-type")
    (data (i32.const 80) "text/plain")
    ;; 40 zeros at 256 are ok(none) for trailers, and ok for a body's outcome

    ;; Free records, each with the next in its first word; then the first unused one.
    (global $free (mut i32) (i32.const 0))
    (global $fresh (mut i32) (i32.const 4096))

    ;; A new record for this task's request.
    (func $new (export "new") (result i32)
      (local $record i32)
      (local.set $record (global.get $free))
      (if (local.get $record)
        (then (global.set $free (i32.load (local.get $record))))
        (else
          (local.set $record (global.get $fresh))
          (global.set $fresh (i32.add (local.get $record) (i32.const 128)))
          (if (i32.gt_u (global.get $fresh) (i32.const 0x100000)) (then unreachable))))
      (memory.fill (local.get $record) (i32.const 0) (i32.const 48))
      (i32.store (local.get $record) (call $set.new))
      (call $context.set (local.get $record))
      (local.get $record))

    ;; The record of this task's request.
    (func $current (export "current") (result i32) (call $context.get))

    ;; The code to wait with the request's set.
    (func $wait (export "wait") (param $record i32) (result i32)
      (i32.or (i32.shl (i32.load (local.get $record)) (i32.const 4)) (i32.const 2)))

    ;; The code to exit, and the end of the record.
    (func $exit (export "exit") (param $record i32) (result i32)
      (call $set.drop (i32.load (local.get $record)))
      (i32.store (local.get $record) (global.get $free))
      (global.set $free (local.get $record))
      (i32.const 0))

    ;; Cancel a call, wait until it has ended, and drop it. The result is its final state: 2 has returned after all,
    ;; 3 is cancelled before it started, 4 before it returned.
    (func $cancel (export "cancel") (param $subtask i32) (result i32)
      ;; remove it from its set, because waiting in two ways at once is a trap
      (call $join (local.get $subtask) (i32.const 0))
      (call $subtask.cancel (local.get $subtask))
      (call $subtask.drop (local.get $subtask)))

    ;; Fields with content-type: text/plain.
    (func $text-fields (export "text-fields") (result i32)
      (call $fields.from-list (i32.const 40) (i32.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (i32.load (i32.const 4)))

    ;; Return a response with these fields, and keep the writable ends of its body and trailers in the record.
    (func $begin (export "begin") (param $record i32) (param $status i32) (param $fields i32)
      (local $body i64) (local $trailers i64)
      (local.set $body (call $bytes.new))
      (local.set $trailers (call $trailers.new))
      ;; the readable end is the low half, the writable end the high half
      (i32.store offset=4 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $body) (i64.const 32))))
      (i32.store offset=8 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))))
      (call $return-response (local.get $status) (local.get $fields)
        (i32.wrap_i64 (local.get $body)) (i32.wrap_i64 (local.get $trailers))))

    ;; Return a response made of these, and ignore its transmission.
    (func $return-response (export "return-response")
        (param $status i32) (param $fields i32) (param $body i32) (param $trailers i32)
      (local $response i32)
      ;; a tuple: the response at 0, its transmission at 4
      (call $response.new (local.get $fields) (i32.const 1) (local.get $body) (local.get $trailers) (i32.const 0))
      (local.set $response (i32.load (i32.const 0)))
      (call $sent.drop-readable (i32.load (i32.const 4)))
      (if (i32.ne (local.get $status) (i32.const 200))
        (then (drop (call $response.set-status (local.get $response) (local.get $status)))))
      ;; ok(response); the zeros fill the place of the largest error-code
      (call $task.return (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))

    ;; Answer with a text of at most 64 bytes, and exit.
    (func $reply (export "reply") (param $record i32) (param $status i32) (param $at i32) (param $len i32) (result i32)
      (local $text i32)
      (call $begin (local.get $record) (local.get $status) (call $text-fields))
      ;; a copy, because the next request may come before the host has read this one's text
      (if (i32.gt_u (local.get $len) (i32.const 64)) (then unreachable))
      (memory.copy (local.tee $text (i32.add (local.get $record) (i32.const 64))) (local.get $at) (local.get $len))
      (call $write (local.get $record) (local.get $text) (local.get $len)))

    ;; Write this text, which must stay unchanged, to the body that `begin` made, and exit.
    (func $write (export "write") (param $record i32) (param $at i32) (param $len i32) (result i32)
      (i32.store offset=16 (local.get $record) (local.get $at))
      (i32.store offset=20 (local.get $record) (local.get $len))
      (call $write-on (local.get $record)))

    (func $write-on (param $record i32) (result i32)
      (local $how i32)
      (loop $more
        (local.set $how (call $bytes.write (i32.load offset=4 (local.get $record))
          (i32.load offset=16 (local.get $record)) (i32.load offset=20 (local.get $record))))
        (if (i32.eq (local.get $how) (i32.const -1))
          (then
            (call $join (i32.load offset=4 (local.get $record)) (i32.load (local.get $record)))
            (return (call $wait (local.get $record)))))
        (br_if $more (call $written (local.get $record) (local.get $how))))
      (call $end (local.get $record)))

    ;; Finish a write, complete or partial. The result is whether more remains.
    (func $written (param $record i32) (param $how i32) (result i32)
      (local $count i32)
      (local.set $count (i32.shr_u (local.get $how) (i32.const 4)))
      (i32.store offset=16 (local.get $record) (i32.add (i32.load offset=16 (local.get $record)) (local.get $count)))
      (i32.store offset=20 (local.get $record) (i32.sub (i32.load offset=20 (local.get $record)) (local.get $count)))
      ;; 1 in the low bits: the reader is gone
      (i32.and
        (i32.eqz (i32.and (local.get $how) (i32.const 0xf)))
        (i32.ne (i32.load offset=20 (local.get $record)) (i32.const 0))))

    ;; End the body, without trailers, and exit.
    (func $end (export "end") (param $record i32) (result i32)
      (call $bytes.drop-writable (i32.load offset=4 (local.get $record)))
      (i32.store offset=4 (local.get $record) (i32.const 0))
      (call $end-with (local.get $record) (i32.const 256)))

    ;; The body has ended: write its trailers, which are at this address, and exit.
    (func $end-with (export "end-with") (param $record i32) (param $trailers i32) (result i32)
      (local $to i32)
      (if (local.tee $to (i32.load offset=8 (local.get $record)))
        (then (if (i32.eq (call $trailers.write (local.get $to) (local.get $trailers)) (i32.const -1))
          (then (call $join (local.get $to) (i32.load (local.get $record))))
          (else (call $drop-future (local.get $record) (local.get $to))))))
      (if (local.tee $to (i32.load offset=12 (local.get $record)))
        (then (if (i32.eq (call $sent.write (local.get $to) (i32.const 256)) (i32.const -1))
          (then (call $join (local.get $to) (i32.load (local.get $record))))
          (else (call $drop-future (local.get $record) (local.get $to))))))
      (call $wait-or-exit (local.get $record)))

    (func $wait-or-exit (param $record i32) (result i32)
      (if (i32.or (i32.load offset=8 (local.get $record)) (i32.load offset=12 (local.get $record)))
        (then (return (call $wait (local.get $record)))))
      (call $exit (local.get $record)))

    ;; One of the two futures is written, or its reader is gone.
    (func $drop-future (param $record i32) (param $handle i32)
      (if (i32.eq (local.get $handle) (i32.load offset=8 (local.get $record)))
        (then
          (call $trailers.drop-writable (local.get $handle))
          (i32.store offset=8 (local.get $record) (i32.const 0)))
        (else
          (call $sent.drop-writable (local.get $handle))
          (i32.store offset=12 (local.get $record) (i32.const 0)))))

    ;; The callback for the writes above.
    (func $event (export "event") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; stream-write
      (if (i32.eq (local.get $event) (i32.const 3))
        (then
          (if (call $written (local.get $record) (local.get $how))
            (then (return (call $write-on (local.get $record)))))
          (return (call $end (local.get $record)))))
      ;; future-write
      (if (i32.eq (local.get $event) (i32.const 5))
        (then
          (call $drop-future (local.get $record) (local.get $handle))
          (return (call $wait-or-exit (local.get $record)))))
      ;; the guest waits for nothing else
      unreachable))

  (core instance $reply (instantiate $Reply
    (with "memory" (instance $memory))
    (with "host" (instance $host))))
