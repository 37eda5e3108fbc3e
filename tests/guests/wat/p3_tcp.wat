;; A command of WASI 0.3 that listens on 0.0.0.0, at the port in its argument, and echoes any number of connections,
;; 64 KiB of each at a time. It ends a connection when its peer does. It never ends itself, except with an error if it
;; cannot listen.
(component
  ;; include p3_memory.wat

  (import "wasi:cli/environment@0.3.0" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:sockets/types@0.3.0" (instance $sockets
    ;; include p3_socket_types.wat
    (type $connections (stream (own $tcp-socket)))
    (export "[static]tcp-socket.create" (func
      (param "address-family" $ip-address-family) (result (result (own $tcp-socket) (error $error-code)))))
    (export "[method]tcp-socket.bind" (func (param "self" (borrow $tcp-socket))
      (param "local-address" $ip-socket-address) (result (result (error $error-code)))))
    (export "[method]tcp-socket.listen" (func (param "self" (borrow $tcp-socket))
      (result (result $connections (error $error-code)))))
    (export "[method]tcp-socket.send" (func (param "self" (borrow $tcp-socket)) (param "data" (stream u8))
      (result (future (result (error $error-code))))))
    (export "[method]tcp-socket.receive" (func (param "self" (borrow $tcp-socket))
      (result (tuple (stream u8) (future (result (error $error-code)))))))))
  (alias export $sockets "tcp-socket" (type $tcp-socket))
  (alias export $sockets "error-code" (type $error-code))
  (type $bytes (stream u8))
  (type $connections (stream (own $tcp-socket)))
  (type $outcome (future (result (error $error-code))))

  (core func $arguments (canon lower (func $environment "get-arguments") (memory $mem) (realloc $realloc)))
  (core func $create (canon lower (func $sockets "[static]tcp-socket.create") (memory $mem) (realloc $realloc)))
  (core func $bind (canon lower (func $sockets "[method]tcp-socket.bind") (memory $mem) (realloc $realloc)))
  (core func $listen (canon lower (func $sockets "[method]tcp-socket.listen") (memory $mem) (realloc $realloc)))
  (core func $send (canon lower (func $sockets "[method]tcp-socket.send")))
  (core func $receive (canon lower (func $sockets "[method]tcp-socket.receive") (memory $mem)))
  (core func $socket.drop (canon resource.drop $tcp-socket))
  (core func $task.return (canon task.return (result (result))))
  (core func $set.new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $accept (canon stream.read $connections async (memory $mem)))
  (core func $bytes.new (canon stream.new $bytes))
  (core func $bytes.read (canon stream.read $bytes async (memory $mem)))
  (core func $bytes.write (canon stream.write $bytes async (memory $mem)))
  (core func $bytes.drop-readable (canon stream.drop-readable $bytes))
  (core func $bytes.drop-writable (canon stream.drop-writable $bytes))
  (core func $outcome.drop (canon future.drop-readable $outcome))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "host" "arguments" (func $arguments (param i32)))
    (import "host" "create" (func $create (param i32 i32)))
    (import "host" "bind" (func $bind (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "listen" (func $listen (param i32 i32)))
    (import "host" "send" (func $send (param i32 i32) (result i32)))
    (import "host" "receive" (func $receive (param i32 i32)))
    (import "host" "socket.drop" (func $socket.drop (param i32)))
    (import "host" "task.return" (func $task.return (param i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "accept" (func $accept (param i32 i32 i32) (result i32)))
    (import "host" "bytes.new" (func $bytes.new (result i64)))
    (import "host" "bytes.read" (func $read (param i32 i32 i32) (result i32)))
    (import "host" "bytes.write" (func $write (param i32 i32 i32) (result i32)))
    (import "host" "bytes.drop-readable" (func $bytes.drop-readable (param i32)))
    (import "host" "bytes.drop-writable" (func $bytes.drop-writable (param i32)))
    (import "host" "outcome.drop" (func $outcome.drop (param i32)))

    (global $set (mut i32) (i32.const 0))
    (global $incoming (mut i32) (i32.const 0))
    ;; Free records, each with the next one at 16.
    (global $free (mut i32) (i32.const 0))

    ;; A connection's record has the receiving stream at 0, the sending stream at 4, the unwritten rest at 8 and 12, at 16
    ;; whether the receiving stream has ended, and the 64 KiB after it. From 0x10000 on is the record of each handle.

    (func $number (param $at i32) (param $len i32) (result i32)
      (local $number i32)
      (loop $next
        (local.set $number
          (i32.add (i32.mul (local.get $number) (i32.const 10)) (i32.sub (i32.load8_u (local.get $at)) (i32.const 0x30))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (local.tee $len (i32.sub (local.get $len) (i32.const 1)))))
      (local.get $number))

    (func $fail (result i32) (call $task.return (i32.const 1)) (i32.const 0))

    (func (export "run") (result i32)
      (local $arguments i32) (local $port i32) (local $socket i32)
      (call $arguments (i32.const 0))
      (if (i32.lt_u (i32.load (i32.const 4)) (i32.const 2)) (then (return (call $fail))))
      (local.set $arguments (i32.load (i32.const 0)))
      (local.set $port
        (call $number (i32.load offset=8 (local.get $arguments)) (i32.load offset=12 (local.get $arguments))))
      ;; results at 0: the discriminant, and at 4 or 8 the payload
      (call $create (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $fail))))
      (local.set $socket (i32.load (i32.const 4)))
      (call $bind (local.get $socket) (i32.const 0) (local.get $port)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $fail))))
      (call $listen (local.get $socket) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $fail))))
      (global.set $incoming (i32.load (i32.const 4)))
      (global.set $set (call $set.new))
      (call $join (global.get $incoming) (global.get $set))
      (call $accept-all)
      (call $wait))

    (func $wait (result i32) (i32.or (i32.shl (global.get $set) (i32.const 4)) (i32.const 2)))

    ;; Accept connections until none waits.
    (func $accept-all
      (local $how i32)
      (loop $next
        (local.set $how (call $accept (global.get $incoming) (i32.const 32) (i32.const 1)))
        (if (i32.eq (local.get $how) (i32.const -1)) (then (return)))
        (call $accepted (local.get $how))
        (br_if $next (i32.eqz (i32.and (local.get $how) (i32.const 1))))))

    (func $accepted (param $how i32)
      (if (i32.shr_u (local.get $how) (i32.const 4)) (then (call $begin (i32.load (i32.const 32))))))

    (func $begin (param $socket i32)
      (local $record i32) (local $pair i64)
      (local.set $record (global.get $free))
      (if (local.get $record)
        (then (global.set $free (i32.load offset=16 (local.get $record))))
        (else (local.set $record (i32.shl (memory.grow (i32.const 2)) (i32.const 16)))))
      (call $receive (local.get $socket) (i32.const 0))
      (i32.store (local.get $record) (i32.load (i32.const 0)))
      (call $outcome.drop (i32.load (i32.const 4)))
      (local.set $pair (call $bytes.new))
      (i32.store offset=4 (local.get $record) (i32.wrap_i64 (i64.shr_u (local.get $pair) (i64.const 32))))
      (call $outcome.drop (call $send (local.get $socket) (i32.wrap_i64 (local.get $pair))))
      (call $socket.drop (local.get $socket))
      (i32.store offset=12 (local.get $record) (i32.const 0))
      (i32.store offset=16 (local.get $record) (i32.const 0))
      (call $watch (i32.load (local.get $record)) (local.get $record))
      (call $watch (i32.load offset=4 (local.get $record)) (local.get $record))
      (call $copy (local.get $record)))

    (func $watch (param $handle i32) (param $record i32)
      (if (i32.ge_u (local.get $handle) (i32.const 0x30000)) (then unreachable))
      (i32.store (i32.add (i32.const 0x10000) (i32.shl (local.get $handle) (i32.const 2))) (local.get $record))
      (call $join (local.get $handle) (global.get $set)))

    ;; Read and write by turns until one of them must wait, or the body ends.
    (func $copy (param $record i32)
      (local $how i32)
      (loop $next
        (if (i32.load offset=12 (local.get $record))
          (then
            (local.set $how (call $write (i32.load offset=4 (local.get $record))
              (i32.load offset=8 (local.get $record)) (i32.load offset=12 (local.get $record))))
            (if (i32.eq (local.get $how) (i32.const -1)) (then (return)))
            (call $has-written (local.get $record) (local.get $how))
            (br $next)))
        (if (i32.eqz (i32.load offset=16 (local.get $record)))
          (then
            (local.set $how
              (call $read (i32.load (local.get $record))
                (i32.add (local.get $record) (i32.const 0x10000)) (i32.const 0x10000)))
            (if (i32.eq (local.get $how) (i32.const -1)) (then (return)))
            (call $has-read (local.get $record) (local.get $how))
            (br $next))))
      (call $bytes.drop-readable (i32.load (local.get $record)))
      (call $bytes.drop-writable (i32.load offset=4 (local.get $record)))
      (i32.store offset=16 (local.get $record) (global.get $free))
      (global.set $free (local.get $record)))

    ;; The outcome of a read or write: a count, and 1 in the low bits if the other side is gone.
    (func $has-read (param $record i32) (param $how i32)
      (i32.store offset=8 (local.get $record) (i32.add (local.get $record) (i32.const 0x10000)))
      (i32.store offset=12 (local.get $record) (i32.shr_u (local.get $how) (i32.const 4)))
      (i32.store offset=16 (local.get $record) (i32.and (local.get $how) (i32.const 1))))

    (func $has-written (param $record i32) (param $how i32)
      (local $count i32)
      (local.set $count (i32.shr_u (local.get $how) (i32.const 4)))
      (i32.store offset=8 (local.get $record) (i32.add (i32.load offset=8 (local.get $record)) (local.get $count)))
      (i32.store offset=12 (local.get $record) (i32.sub (i32.load offset=12 (local.get $record)) (local.get $count)))
      (if (i32.and (local.get $how) (i32.const 1))
        (then
          (i32.store offset=12 (local.get $record) (i32.const 0))
          (i32.store offset=16 (local.get $record) (i32.const 1)))))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $record i32)
      (if (i32.eq (local.get $handle) (global.get $incoming))
        (then
          (call $accepted (local.get $how))
          (if (i32.eqz (i32.and (local.get $how) (i32.const 1))) (then (call $accept-all))))
        (else
          (local.set $record
            (i32.load (i32.add (i32.const 0x10000) (i32.shl (local.get $handle) (i32.const 2)))))
          ;; stream-read; the other is stream-write
          (if (i32.eq (local.get $event) (i32.const 2))
            (then (call $has-read (local.get $record) (local.get $how)))
            (else (call $has-written (local.get $record) (local.get $how))))
          (call $copy (local.get $record))))
      (call $wait)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "arguments" (func $arguments))
      (export "create" (func $create))
      (export "bind" (func $bind))
      (export "listen" (func $listen))
      (export "send" (func $send))
      (export "receive" (func $receive))
      (export "socket.drop" (func $socket.drop))
      (export "task.return" (func $task.return))
      (export "set.new" (func $set.new))
      (export "join" (func $join))
      (export "accept" (func $accept))
      (export "bytes.new" (func $bytes.new))
      (export "bytes.read" (func $bytes.read))
      (export "bytes.write" (func $bytes.write))
      (export "bytes.drop-readable" (func $bytes.drop-readable))
      (export "bytes.drop-writable" (func $bytes.drop-writable))
      (export "outcome.drop" (func $outcome.drop))))))

  (func $run async (result (result))
    (canon lift (core func $main "run") async (callback (core func $main "callback"))))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $cli))
)
