    ;; The beginning of a module with numbered cases for WASI 0.3: the host's functions, common parts of the cases,
    ;; and `handle` and `callback`. These run the case in the request's path (/0, /1, ... in the order of the
    ;; table) and then answer "survived". A case returns -1 for that, or the result of `handle`. It may leave the first
    ;; result of `callback` at 24 in its record, where -1 answers "survived" then.
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "exit" (func $exit (param i32) (result i32)))
    (import "reply" "cancel" (func $cancel (param i32) (result i32)))
    (import "reply" "text-fields" (func $text-fields (result i32)))
    (import "reply" "begin" (func $begin (param i32 i32 i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "end" (func $end (param i32) (result i32)))
    (import "reply" "end-with" (func $end-with (param i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "fields.drop" (func $fields.drop (param i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "response.new" (func $response.new (param i32 i32 i32 i32 i32)))
    (import "host" "response.drop" (func $response.drop (param i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "task.cancel" (func $task.cancel))
    (import "host" "yield" (func $yield (result i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "set.wait" (func $set.wait (param i32 i32) (result i32)))
    (import "host" "set.poll" (func $set.poll (param i32 i32) (result i32)))
    (import "host" "set.drop" (func $set.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.cancel" (func $subtask.cancel (param i32) (result i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))
    (import "host" "bytes.new" (func $bytes.new (result i64)))
    (import "host" "bytes.read" (func $bytes.read (param i32 i32 i32) (result i32)))
    (import "host" "bytes.write" (func $bytes.write (param i32 i32 i32) (result i32)))
    (import "host" "bytes.cancel-read" (func $bytes.cancel-read (param i32) (result i32)))
    (import "host" "bytes.cancel-write" (func $bytes.cancel-write (param i32) (result i32)))
    (import "host" "bytes.drop-readable" (func $bytes.drop-readable (param i32)))
    (import "host" "bytes.drop-writable" (func $bytes.drop-writable (param i32)))
    (import "host" "trailers.new" (func $trailers.new (result i64)))
    (import "host" "trailers.read" (func $trailers.read (param i32 i32) (result i32)))
    (import "host" "trailers.write" (func $trailers.write (param i32 i32) (result i32)))
    (import "host" "trailers.cancel-read" (func $trailers.cancel-read (param i32) (result i32)))
    (import "host" "trailers.cancel-write" (func $trailers.cancel-write (param i32) (result i32)))
    (import "host" "trailers.drop-readable" (func $trailers.drop-readable (param i32)))
    (import "host" "trailers.drop-writable" (func $trailers.drop-writable (param i32)))
    (import "host" "sent.new" (func $sent.new (result i64)))
    (import "host" "sent.read" (func $sent.read (param i32 i32) (result i32)))
    (import "host" "sent.write" (func $sent.write (param i32 i32) (result i32)))
    (import "host" "sent.drop-readable" (func $sent.drop-readable (param i32)))
    (import "host" "sent.drop-writable" (func $sent.drop-writable (param i32)))

    (data (i32.const 200) "survived\n")
    (data (i32.const 216) "no such case\n")
    ;; Memory for a case: 64 bytes, aligned to 8, from 1024 on.

    (type $case (func (param $request i32) (param $record i32) (result i32)))

    ;; The two ends of the latest stream or future.
    (global $readable (mut i32) (i32.const 0))
    (global $writable (mut i32) (i32.const 0))
    (func $keep (param $ends i64)
      (global.set $readable (i32.wrap_i64 (local.get $ends)))
      (global.set $writable (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))))
    (func $new-bytes (call $keep (call $bytes.new)))
    (func $new-trailers (call $keep (call $trailers.new)))
    (func $new-sent (call $keep (call $sent.new)))

    ;; Consume the request's body. Its trailers and its outcome stay open.
    (func $body-of (param $request i32) (result i32)
      (call $new-sent)
      (call $request.consume (local.get $request) (global.get $readable) (i32.const 0))
      (i32.load (i32.const 0)))

    ;; A call of the host that takes an hour.
    (func $hour (result i32) (i32.shr_u (call $wait-for (i64.const 3600000000000)) (i32.const 4)))

    ;; One byte past the memory.
    (func $end-of-memory (result i32) (i32.shl (memory.size) (i32.const 16)))

    ;; Continue only if these are equal.
    (func $expect (param $is i32) (param $is-to-be i32)
      (if (i32.ne (local.get $is) (local.get $is-to-be)) (then unreachable)))

    (func $survived (param $record i32) (result i32)
      (call $reply (local.get $record) (i32.const 200) (i32.const 200) (i32.const 9)))

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $case i32) (local $code i32)
      (local.set $record (call $new))
      (local.set $case (call $number (local.get $request) (i32.const 0)))
      (if (i32.ge_u (local.get $case) (table.size $cases))
        (then (return (call $reply (local.get $record) (i32.const 404) (i32.const 216) (i32.const 13)))))
      (local.set $code
        (call_indirect $cases (type $case) (local.get $request) (local.get $record) (local.get $case)))
      (if (i32.eq (local.get $code) (i32.const -1)) (then (return (call $survived (local.get $record)))))
      (local.get $code))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32) (local $code i32)
      (local.set $record (call $current))
      (local.set $code (i32.load offset=24 (local.get $record)))
      (i32.store offset=24 (local.get $record) (i32.const 0))
      (if (i32.eq (local.get $code) (i32.const -1)) (then (return (call $survived (local.get $record)))))
      (if (local.get $code) (then (return (local.get $code))))
      (call $event (local.get $event) (local.get $handle) (local.get $how)))
