;; Answers with a line and trailers: /0 with x-trailer: value; /1 with those of the request, after reading its body; /2
;; with an error-code instead, which cuts the body.
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
    (import "reply" "end-with" (func $end-with (param i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32 i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "bytes.read" (func $bytes.read (param i32 i32 i32) (result i32)))
    (import "host" "bytes.write" (func $bytes.write (param i32 i32 i32) (result i32)))
    (import "host" "bytes.drop-readable" (func $bytes.drop-readable (param i32)))
    (import "host" "bytes.drop-writable" (func $bytes.drop-writable (param i32)))
    (import "host" "trailers.read" (func $trailers.read (param i32 i32) (result i32)))
    (import "host" "trailers.drop-readable" (func $trailers.drop-readable (param i32)))
    (import "host" "sent.new" (func $sent.new (result i64)))

    (data (i32.const 96) "trailers follow\n")
    ;; a list of one field: the string "x-trailer" and the list<u8> "value"
    (data (i32.const 128) "\90\00\00\00" "\09\00\00\00" "\a0\00\00\00" "\05\00\00\00")
    (data (i32.const 144) "x-trailer")
    (data (i32.const 160) "value")
    ;; another list, for the response's headers: trailer: x-trailer, without which some servers send no trailers
    (data (i32.const 176) "\c0\00\00\00" "\07\00\00\00" "\90\00\00\00" "\09\00\00\00")
    (data (i32.const 192) "trailer")

    ;; In the record: the case at 24; the request's body at 28, its trailers at 32. From 72 on, instead of reply's texts,
    ;; the response's trailers, a result<option<fields>, error-code> of 40 bytes: the result's case at 72, that of the
    ;; option or the error-code at 80, the handle of the fields at 84.

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $handled i64)
      (local.set $record (call $new))
      (memory.fill (i32.add (local.get $record) (i32.const 72)) (i32.const 0) (i32.const 40))
      (i32.store offset=24 (local.get $record) (call $number (local.get $request) (i32.const 0)))
      (local.set $handled (call $sent.new))
      (i32.store offset=12 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $handled) (i64.const 32))))
      ;; a tuple: the body at 0, its trailers at 4
      (call $request.consume (local.get $request) (i32.wrap_i64 (local.get $handled)) (i32.const 0))
      (i32.store offset=28 (local.get $record) (i32.load (i32.const 0)))
      (i32.store offset=32 (local.get $record) (i32.load (i32.const 4)))
      (call $begin (local.get $record) (i32.const 200) (call $fields (i32.const 176)))
      (call $join (i32.load offset=4 (local.get $record)) (i32.load (local.get $record)))
      (call $join (i32.load offset=28 (local.get $record)) (i32.load (local.get $record)))
      (call $join (i32.load offset=32 (local.get $record)) (i32.load (local.get $record)))
      (call $write (local.get $record)))

    ;; Fields from the list of one at this address.
    (func $fields (param $entry i32) (result i32)
      (call $fields.from-list (local.get $entry) (i32.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable))
      (i32.load (i32.const 4)))

    ;; The line.
    (func $write (param $record i32) (result i32)
      (local $how i32)
      (local.set $how (call $bytes.write (i32.load offset=4 (local.get $record)) (i32.const 96) (i32.const 16)))
      (if (i32.eq (local.get $how) (i32.const -1)) (then (return (call $wait (local.get $record)))))
      (call $written (local.get $record) (local.get $how)))

    (func $written (param $record i32) (param $how i32) (result i32)
      ;; all 16 bytes of it; otherwise the reader is gone
      (if (i32.and (i32.ne (local.get $how) (i32.const 0x100)) (i32.eqz (i32.and (local.get $how) (i32.const 1))))
        (then unreachable))
      (call $bytes.drop-writable (i32.load offset=4 (local.get $record)))
      (i32.store offset=4 (local.get $record) (i32.const 0))
      (call $read (local.get $record)))

    ;; Read the rest of the request's body, repeatedly to the same address.
    (func $read (param $record i32) (result i32)
      (local $how i32)
      (loop $more
        (local.set $how
          (call $bytes.read (i32.load offset=28 (local.get $record)) (i32.const 0x200000) (i32.const 0x10000)))
        (if (i32.eq (local.get $how) (i32.const -1)) (then (return (call $wait (local.get $record)))))
        (br_if $more (i32.eqz (i32.and (local.get $how) (i32.const 1)))))
      (call $read-trailers (local.get $record)))

    (func $read-trailers (param $record i32) (result i32)
      (call $bytes.drop-readable (i32.load offset=28 (local.get $record)))
      (global.set $heap (i32.const 0x100000))
      (if (i32.eq (i32.const -1)
            (call $trailers.read (i32.load offset=32 (local.get $record)) (i32.add (local.get $record) (i32.const 72))))
        (then (return (call $wait (local.get $record)))))
      (call $finish (local.get $record)))

    (func $finish (param $record i32) (result i32)
      (call $trailers.drop-readable (i32.load offset=32 (local.get $record)))
      (if (i32.eqz (i32.load offset=24 (local.get $record)))
        (then
          ;; ok(some(fields))
          (i32.store offset=72 (local.get $record) (i32.const 0))
          (i32.store offset=80 (local.get $record) (i32.const 1))
          (i32.store offset=84 (local.get $record) (call $fields (i32.const 128)))))
      (if (i32.eq (i32.load offset=24 (local.get $record)) (i32.const 2))
        (then
          ;; error(configuration-error)
          (i32.store offset=72 (local.get $record) (i32.const 1))
          (i32.store offset=80 (local.get $record) (i32.const 37))))
      (call $end-with (local.get $record) (i32.add (local.get $record) (i32.const 72))))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; stream-write
      (if (i32.eq (local.get $event) (i32.const 3))
        (then (return (call $written (local.get $record) (local.get $how)))))
      ;; stream-read, of a part or at the end
      (if (i32.eq (local.get $event) (i32.const 2))
        (then
          (if (i32.and (local.get $how) (i32.const 1))
            (then (return (call $read-trailers (local.get $record)))))
          (return (call $read (local.get $record)))))
      ;; future-read
      (if (i32.eq (local.get $event) (i32.const 4)) (then (return (call $finish (local.get $record)))))
      (call $event (local.get $event) (local.get $handle) (local.get $how))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
