;; Answers every request with a line of text: wasi:http/handler of WASI 0.3, written by hand.
(component
  ;; An import may omit functions that the component does not call. It must spell out every type that it uses.
  (import "wasi:http/types@0.3.0" (instance $http
    (type $DNS' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $DNS (eq $DNS')))
    (type $TLS' (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $TLS (eq $TLS')))
    (type $size' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $error-code' (variant
      (case "DNS-timeout") (case "DNS-error" $DNS) (case "destination-not-found") (case "destination-unavailable")
      (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
      (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
      (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
      (case "TLS-certificate-error") (case "TLS-alert-received" $TLS) (case "HTTP-request-denied")
      (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error")
      (case "loop-detected") (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "fields" (type $fields (sub resource)))
    (export "request" (type $request (sub resource)))
    (export "response" (type $response (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[static]response.new"
      (func (param "headers" (own $fields))
        (param "contents" (option (stream u8)))
        (param "trailers" (future (result (option (own $fields)) (error $error-code))))
        (result (tuple (own $response) (future (result (error $error-code)))))))))
  (alias export $http "fields" (type $fields))
  (alias export $http "request" (type $request))
  (alias export $http "response" (type $response))
  (alias export $http "error-code" (type $error-code))
  (type $contents (stream u8))
  (type $trailers (future (result (option (own $fields)) (error $error-code))))
  (type $transmission (future (result (error $error-code))))

  ;; The memory comes first, because imports that use it are lowered before their caller is instantiated.
  (core module $Memory
    (memory (export "memory") 1)
    (data (i32.const 64) "Hello from WAT!\n"))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))

  (core func $new-fields (canon lower (func $http "[constructor]fields")))
  (core func $new-response (canon lower (func $http "[static]response.new") (memory $mem)))
  (core func $drop-request (canon resource.drop $request))
  (core func $return (canon task.return (result (result (own $response) (error $error-code))) (memory $mem)))
  (core func $new-stream (canon stream.new $contents))
  (core func $write-stream (canon stream.write $contents async (memory $mem)))
  (core func $drop-stream (canon stream.drop-writable $contents))
  (core func $new-trailers (canon future.new $trailers))
  (core func $write-trailers (canon future.write $trailers async (memory $mem)))
  (core func $drop-trailers (canon future.drop-writable $trailers))
  (core func $drop-transmission (canon future.drop-readable $transmission))
  (core func $new-set (canon waitable-set.new))
  (core func $drop-set (canon waitable-set.drop))
  (core func $join (canon waitable.join))
  ;; the context slot of a task holds its waitable set
  (core func $keep-set (canon context.set i32 0))
  (core func $set (canon context.get i32 0))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "wasi" "new-fields" (func $new-fields (result i32)))
    (import "wasi" "new-response" (func $new-response (param i32 i32 i32 i32 i32)))
    (import "wasi" "drop-request" (func $drop-request (param i32)))
    (import "wasi" "return" (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "wasi" "new-stream" (func $new-stream (result i64)))
    (import "wasi" "write-stream" (func $write-stream (param i32 i32 i32) (result i32)))
    (import "wasi" "drop-stream" (func $drop-stream (param i32)))
    (import "wasi" "new-trailers" (func $new-trailers (result i64)))
    (import "wasi" "write-trailers" (func $write-trailers (param i32 i32) (result i32)))
    (import "wasi" "drop-trailers" (func $drop-trailers (param i32)))
    (import "wasi" "drop-transmission" (func $drop-transmission (param i32)))
    (import "wasi" "new-set" (func $new-set (result i32)))
    (import "wasi" "drop-set" (func $drop-set (param i32)))
    (import "wasi" "join" (func $join (param i32 i32)))
    (import "wasi" "keep-set" (func $keep-set (param i32)))
    (import "wasi" "set" (func $set (result i32)))

    (func (export "handle") (param $request i32) (result i32)
      (local $stream i64) (local $trailers i64)
      (call $drop-request (local.get $request))
      ;; A new stream or future is two handles: the low half is the readable end, the high half the writable one.
      (local.set $stream (call $new-stream))
      (local.set $trailers (call $new-trailers))
      ;; the result is a pair: the response at 0, and at 4 the future of its transmission
      (call $new-response (call $new-fields)
        (i32.const 1) (i32.wrap_i64 (local.get $stream)) (i32.wrap_i64 (local.get $trailers)) (i32.const 0))
      (call $drop-transmission (i32.load (i32.const 4)))
      ;; ok(response); the zeros fill the place of an error-code
      (call $return (i32.const 0) (i32.load (i32.const 0))
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      ;; The response is on its way. Write its contents, and then the trailers.
      (call $keep-set (call $new-set))
      (i32.store (call $place) (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))))
      (call $write (i32.wrap_i64 (i64.shr_u (local.get $stream) (i64.const 32)))))

    ;; The address of the writable end of this task's trailers: a word for each set, from 4096 on.
    (func $place (result i32) (i32.add (i32.const 4096) (i32.shl (call $set) (i32.const 2))))
    (func $trailers (result i32) (i32.load (call $place)))

    (func $write (param $stream i32) (result i32)
      ;; -1: blocked, no reader yet
      (if (i32.eq (call $write-stream (local.get $stream) (i32.const 64) (i32.const 16)) (i32.const -1))
        (then (return (call $wait-for (local.get $stream)))))
      (call $written (local.get $stream)))

    (func $written (param $stream i32) (result i32)
      (call $drop-stream (local.get $stream))
      ;; ok(none): the zeros at 128
      (if (i32.eq (call $write-trailers (call $trailers) (i32.const 128)) (i32.const -1))
        (then (return (call $wait-for (call $trailers)))))
      (call $ended))

    (func $ended (result i32)
      (call $drop-trailers (call $trailers))
      (call $drop-set (call $set))
      ;; the code EXIT
      (i32.const 0))

    ;; The result of handle and callback that waits for an event of the set: the set, and the code WAIT (2).
    (func $wait-for (param $end i32) (result i32)
      (call $join (local.get $end) (call $set))
      (i32.or (i32.shl (call $set) (i32.const 4)) (i32.const 2)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      ;; event 3 ends a stream's write, the other event a future's
      (if (result i32) (i32.eq (local.get $event) (i32.const 3))
        (then (call $written (local.get $handle)))
        (else (call $ended)))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "wasi" (instance
      (export "new-fields" (func $new-fields))
      (export "new-response" (func $new-response))
      (export "drop-request" (func $drop-request))
      (export "return" (func $return))
      (export "new-stream" (func $new-stream))
      (export "write-stream" (func $write-stream))
      (export "drop-stream" (func $drop-stream))
      (export "new-trailers" (func $new-trailers))
      (export "write-trailers" (func $write-trailers))
      (export "drop-trailers" (func $drop-trailers))
      (export "drop-transmission" (func $drop-transmission))
      (export "new-set" (func $new-set))
      (export "drop-set" (func $drop-set))
      (export "join" (func $join))
      (export "keep-set" (func $keep-set))
      (export "set" (func $set))))))

  (func $handle async (param "request" (own $request)) (result (result (own $response) (error $error-code)))
    (canon lift (core func $main "handle") async (memory $mem) (callback (core func $main "callback"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/handler@0.3.0" (instance $handler))
)
