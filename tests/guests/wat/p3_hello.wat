;; The smallest response of WASI 0.3 whose body is a stream, in as few calls as that admits: thirteen built-ins and
;; host functions, and two events. Benchmarks serve it. Each request in progress waits for its two writes with its own
;; waitable set. The guest keeps sets for later requests, so an instance without concurrent requests makes one.
(component
  ;; include p3_http.wat

  (core module $Memory
    (memory (export "memory") 8)
    ;; one header: the string "content-type" at 64 and the list<u8> "text/plain" at 80
    (data (i32.const 32) "\40\00\00\00" "\0c\00\00\00" "\50\00\00\00" "\0a\00\00\00")
    (data (i32.const 64) "content-type")
    (data (i32.const 80) "text/plain")
    (data (i32.const 96) "Hello, world!\n")
    ;; the trailers, ok(none), are the zeros at 128; the largest error-code would be 40 bytes
    ;; only the reason for refused headers could need more room, and these headers are valid
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $request.drop (canon resource.drop $request))
  (core func $fields.from-list
    (canon lower (func $http "[static]fields.from-list") (memory $mem) (realloc $realloc)))
  (core func $response.new (canon lower (func $http "[static]response.new") (memory $mem)))
  (core func $task.return
    (canon task.return (result (result (own $response) (error $error-code))) (memory $mem)))
  (core func $stream.new (canon stream.new $bytes))
  (core func $stream.write (canon stream.write $bytes async (memory $mem)))
  (core func $stream.drop (canon stream.drop-writable $bytes))
  (core func $trailers.new (canon future.new $trailers))
  (core func $trailers.write (canon future.write $trailers async (memory $mem)))
  (core func $trailers.drop (canon future.drop-writable $trailers))
  (core func $sent.drop (canon future.drop-readable $sent))
  (core func $set.new (canon waitable-set.new))
  (core func $join (canon waitable.join))

  (core module $Main
    (import "memory" "memory" (memory 8))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "response.new" (func $response.new (param i32 i32 i32 i32 i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "stream.new" (func $stream.new (result i64)))
    (import "host" "stream.write" (func $stream.write (param i32 i32 i32) (result i32)))
    (import "host" "stream.drop" (func $stream.drop (param i32)))
    (import "host" "trailers.new" (func $trailers.new (result i64)))
    (import "host" "trailers.write" (func $trailers.write (param i32 i32) (result i32)))
    (import "host" "trailers.drop" (func $trailers.drop (param i32)))
    (import "host" "sent.drop" (func $sent.drop (param i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))

    ;; The free sets: a stack that ends here, at 1024 when it is empty.
    (global $sets (mut i32) (i32.const 1024))

    ;; A word for each handle, from 4096 up: the request's set for a stream or a future, and the number of writes under way
    ;; for a set. One table numbers all handles, so no two are equal.
    (func $word (param $handle i32) (result i32)
      (i32.add (i32.const 4096) (i32.shl (local.get $handle) (i32.const 2))))

    (func $take-set (result i32)
      (if (i32.eq (global.get $sets) (i32.const 1024)) (then (return (call $set.new))))
      (global.set $sets (i32.sub (global.get $sets) (i32.const 4)))
      (i32.load (global.get $sets)))

    (func $keep-set (param $set i32)
      (if (i32.ge_u (global.get $sets) (i32.const 4096)) (then unreachable))
      (i32.store (global.get $sets) (local.get $set))
      (global.set $sets (i32.add (global.get $sets) (i32.const 4))))

    ;; Wait for this handle's write with this set.
    (func $await (param $handle i32) (param $set i32)
      (i32.store (call $word (local.get $handle)) (local.get $set))
      (i32.store (call $word (local.get $set)) (i32.add (i32.load (call $word (local.get $set))) (i32.const 1)))
      (call $join (local.get $handle) (local.get $set)))

    ;; The result of handle and callback: wait (2) with this set while it has writes, otherwise exit (0).
    (func $next (param $set i32) (result i32)
      (if (i32.load (call $word (local.get $set)))
        (then (return (i32.or (i32.shl (local.get $set) (i32.const 4)) (i32.const 2)))))
      (call $keep-set (local.get $set))
      (i32.const 0))

    (func (export "handle") (param $request i32) (result i32)
      (local $stream i64) (local $trailers i64) (local $out i32) (local $end i32) (local $set i32)
      (call $request.drop (local.get $request))
      ;; ok, the byte at 0, with the fields at 4
      (call $fields.from-list (i32.const 32) (i32.const 1) (i32.const 0))
      ;; the readable end is the low half, the writable end the high half
      (local.set $stream (call $stream.new))
      (local.set $trailers (call $trailers.new))
      ;; a tuple: the response at 0, its transmission at 4. A new response has status code 200.
      (call $response.new (i32.load (i32.const 4)) (i32.const 1) (i32.wrap_i64 (local.get $stream))
        (i32.wrap_i64 (local.get $trailers)) (i32.const 0))
      (call $sent.drop (i32.load (i32.const 4)))
      ;; ok(response); the zeros fill the place of the largest error-code
      (call $task.return (i32.const 0) (i32.load (i32.const 0))
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))

      (local.set $set (call $take-set))
      (local.set $out (i32.wrap_i64 (i64.shr_u (local.get $stream) (i64.const 32))))
      ;; -1 is blocked, any other result is done
      (if (i32.eq (call $stream.write (local.get $out) (i32.const 96) (i32.const 14)) (i32.const -1))
        (then (call $await (local.get $out) (local.get $set)))
        (else (call $stream.drop (local.get $out))))
      (local.set $end (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))))
      (if (i32.eq (call $trailers.write (local.get $end) (i32.const 128)) (i32.const -1))
        (then (call $await (local.get $end) (local.get $set)))
        (else (call $trailers.drop (local.get $end))))
      (call $next (local.get $set)))

    ;; One of the writes is done: the host read all of it or dropped its end.
    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (local $set i32)
      (local.set $set (i32.load (call $word (local.get $handle))))
      (i32.store (call $word (local.get $set)) (i32.sub (i32.load (call $word (local.get $set))) (i32.const 1)))
      ;; 3 is stream-write, and the other is future-write
      (if (i32.eq (local.get $event) (i32.const 3))
        (then (call $stream.drop (local.get $handle)))
        (else (call $trailers.drop (local.get $handle))))
      (call $next (local.get $set))))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "request.drop" (func $request.drop))
      (export "fields.from-list" (func $fields.from-list))
      (export "response.new" (func $response.new))
      (export "task.return" (func $task.return))
      (export "stream.new" (func $stream.new))
      (export "stream.write" (func $stream.write))
      (export "stream.drop" (func $stream.drop))
      (export "trailers.new" (func $trailers.new))
      (export "trailers.write" (func $trailers.write))
      (export "trailers.drop" (func $trailers.drop))
      (export "sent.drop" (func $sent.drop))
      (export "set.new" (func $set.new))
      (export "join" (func $join))))))

  ;; include p3_handler.wat
)
