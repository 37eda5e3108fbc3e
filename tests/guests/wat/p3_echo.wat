;; Streams the request's body back as it arrives, through 64 KiB of this memory, with its content-type and
;; content-length. A number in the path is the number of bytes at a time. It waits only if the host has nothing to read
;; or no room to write.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "current" (func $current (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "begin" (func $begin (param i32 i32 i32)))
    (import "reply" "end" (func $end (param i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "fields.get" (func $fields.get (param i32 i32 i32 i32)))
    (import "host" "fields.append" (func $fields.append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "fields.drop" (func $fields.drop (param i32)))
    (import "host" "request.headers" (func $request.headers (param i32) (result i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32 i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "bytes.read" (func $read (param i32 i32 i32) (result i32)))
    (import "host" "bytes.write" (func $write (param i32 i32 i32) (result i32)))
    (import "host" "bytes.drop-readable" (func $bytes.drop-readable (param i32)))
    (import "host" "trailers.drop-readable" (func $trailers.drop-readable (param i32)))
    (import "host" "sent.new" (func $sent.new (result i64)))

    (data (i32.const 96) "content-length")

    ;; In the record: at 16 and 20 the unwritten rest, as for a reply; at 24 the request's body, at 28 whether it has
    ;; ended, at 32 the size of a read, at 48 the 64 KiB.

    ;; Copy the request's value of a header to the response.
    (func $keep (param $from i32) (param $to i32) (param $name i32) (param $len i32)
      (local $value i32)
      (global.set $heap (i32.const 0x100000))
      ;; a list<list<u8>>: its pointer at 0, its length at 4
      (call $fields.get (local.get $from) (local.get $name) (local.get $len) (i32.const 0))
      (if (i32.load (i32.const 4))
        (then
          (local.set $value (i32.load (i32.const 0)))
          (call $fields.append (local.get $to) (local.get $name) (local.get $len)
            (i32.load (local.get $value)) (i32.load offset=4 (local.get $value)) (i32.const 0)))))

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $piece i32) (local $from i32) (local $to i32) (local $handled i64)
      (local.set $record (call $new))
      (local.set $piece (call $number (local.get $request) (i32.const 0x10000)))
      (if (i32.gt_u (local.get $piece) (i32.const 0x10000)) (then unreachable))
      (i32.store offset=32 (local.get $record) (local.get $piece))
      (if (i32.eqz (i32.load offset=48 (local.get $record)))
        (then (i32.store offset=48 (local.get $record) (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))))

      (local.set $from (call $request.headers (local.get $request)))
      (local.set $to (call $fields.new))
      ;; reply sets content-type
      (call $keep (local.get $from) (local.get $to) (i32.const 64) (i32.const 12))
      (call $keep (local.get $from) (local.get $to) (i32.const 96) (i32.const 14))
      (call $fields.drop (local.get $from))

      (local.set $handled (call $sent.new))
      (i32.store offset=12 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $handled) (i64.const 32))))
      ;; a tuple: the body at 0, its trailers at 4
      (call $request.consume (local.get $request) (i32.wrap_i64 (local.get $handled)) (i32.const 0))
      (i32.store offset=24 (local.get $record) (i32.load (i32.const 0)))
      (call $trailers.drop-readable (i32.load (i32.const 4)))

      (call $begin (local.get $record) (i32.const 200) (local.get $to))
      (call $join (i32.load offset=24 (local.get $record)) (i32.load (local.get $record)))
      (call $join (i32.load offset=4 (local.get $record)) (i32.load (local.get $record)))
      (call $copy (local.get $record)))

    ;; Read and write by turns until one of them must wait, or the body ends.
    (func $copy (param $record i32) (result i32)
      (local $how i32)
      (loop $next
        (if (i32.load offset=20 (local.get $record))
          (then
            (local.set $how (call $write (i32.load offset=4 (local.get $record))
              (i32.load offset=16 (local.get $record)) (i32.load offset=20 (local.get $record))))
            (if (i32.eq (local.get $how) (i32.const -1)) (then (return (call $wait (local.get $record)))))
            (call $has-written (local.get $record) (local.get $how))
            (br $next)))
        (if (i32.load offset=28 (local.get $record)) (then (return (call $finish (local.get $record)))))
        (local.set $how
          (call $read (i32.load offset=24 (local.get $record)) (i32.load offset=48 (local.get $record))
            (i32.load offset=32 (local.get $record))))
        (if (i32.eq (local.get $how) (i32.const -1)) (then (return (call $wait (local.get $record)))))
        (call $has-read (local.get $record) (local.get $how))
        (br $next))
      unreachable)

    ;; The outcome of a read or write: a count, and 1 in the low bits if the other side is gone.
    (func $has-read (param $record i32) (param $how i32)
      (i32.store offset=16 (local.get $record) (i32.load offset=48 (local.get $record)))
      (i32.store offset=20 (local.get $record) (i32.shr_u (local.get $how) (i32.const 4)))
      (i32.store offset=28 (local.get $record) (i32.and (local.get $how) (i32.const 1))))

    (func $has-written (param $record i32) (param $how i32)
      (local $count i32)
      (local.set $count (i32.shr_u (local.get $how) (i32.const 4)))
      (i32.store offset=16 (local.get $record) (i32.add (i32.load offset=16 (local.get $record)) (local.get $count)))
      (i32.store offset=20 (local.get $record) (i32.sub (i32.load offset=20 (local.get $record)) (local.get $count)))
      ;; the client has left: write nothing further
      (if (i32.and (local.get $how) (i32.const 1))
        (then
          (i32.store offset=20 (local.get $record) (i32.const 0))
          (i32.store offset=28 (local.get $record) (i32.const 1)))))

    (func $finish (param $record i32) (result i32)
      (call $bytes.drop-readable (i32.load offset=24 (local.get $record)))
      (call $end (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; stream-read
      (if (i32.eq (local.get $event) (i32.const 2))
        (then
          (call $has-read (local.get $record) (local.get $how))
          (return (call $copy (local.get $record)))))
      ;; stream-write
      (if (i32.eq (local.get $event) (i32.const 3))
        (then
          (call $has-written (local.get $record) (local.get $how))
          (return (call $copy (local.get $record)))))
      (call $event (local.get $event) (local.get $handle) (local.get $how))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
