;; An endless body: /0 is a line and then a wait for a clock; /1 is as much as the client takes.
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
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "text-fields" (func $text-fields (result i32)))
    (import "reply" "begin" (func $begin (param i32 i32 i32)))
    (import "reply" "end" (func $end (param i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "bytes.write" (func $bytes.write (param i32 i32 i32) (result i32)))
    (import "clock" "wait-for" (func $wait-for (param i64) (result i32)))

    (data (i32.const 96) "begun\n")

    ;; In the record: the size of a write at 24, and at 28 whether to continue after it.

    (func (export "handle") (param $request i32) (result i32)
      (local $record i32) (local $flood i32)
      (local.set $record (call $new))
      (local.set $flood (call $number (local.get $request) (i32.const 0)))
      (call $request.drop (local.get $request))
      (i32.store offset=24 (local.get $record) (select (i32.const 0x10000) (i32.const 6) (local.get $flood)))
      (i32.store offset=28 (local.get $record) (local.get $flood))
      (call $begin (local.get $record) (i32.const 200) (call $text-fields))
      (call $join (i32.load offset=4 (local.get $record)) (i32.load (local.get $record)))
      (call $write (local.get $record)))

    (func $write (param $record i32) (result i32)
      (local $how i32)
      (loop $more
        (local.set $how
          (call $bytes.write (i32.load offset=4 (local.get $record)) (i32.const 96)
            (i32.load offset=24 (local.get $record))))
        (if (i32.eq (local.get $how) (i32.const -1)) (then (return (call $wait (local.get $record)))))
        (if (i32.and (local.get $how) (i32.const 1)) (then (return (call $end (local.get $record)))))
        (br_if $more (i32.load offset=28 (local.get $record))))
      (call $idle (local.get $record)))

    ;; Wait for an hour, without events of the stream.
    (func $idle (param $record i32) (result i32)
      (call $join (i32.load offset=4 (local.get $record)) (i32.const 0))
      (call $join
        (i32.shr_u (call $wait-for (i64.const 3600000000000)) (i32.const 4))
        (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (local.set $record (call $current))
      ;; all except stream-write
      (if (i32.ne (local.get $event) (i32.const 3))
        (then (return (call $event (local.get $event) (local.get $handle) (local.get $how)))))
      ;; the reader is gone
      (if (i32.and (local.get $how) (i32.const 1)) (then (return (call $end (local.get $record)))))
      (if (i32.load offset=28 (local.get $record)) (then (return (call $write (local.get $record)))))
      (call $idle (local.get $record))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
