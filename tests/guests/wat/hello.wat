;; The smallest useful response, in as few host calls as wasi:http admits: nine. Benchmarks serve it.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Memory
    (memory (export "memory") 1)
    ;; one header: the string "content-type" at 64 and the list<u8> "text/plain" at 80
    (data (i32.const 32) "\40\00\00\00" "\0c\00\00\00" "\50\00\00\00" "\0a\00\00\00")
    (data (i32.const 64) "content-type")
    (data (i32.const 80) "text/plain")
    (data (i32.const 96) "Hello, world!\n")
    ;; only the error of outgoing-body.finish could need more room, and the guest cannot handle it
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $fields.from-list (canon lower (func $http "[static]fields.from-list") (memory $mem)))
  (core func $response.new (canon lower (func $http "[constructor]outgoing-response")))
  (core func $response.body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $outparam.set (canon lower (func $http "[static]response-outparam.set") (memory $mem)))
  (core func $body.write (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $body.finish (canon lower (func $http "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))
  (core func $stream.write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $stream.drop (canon resource.drop $output-stream))
  (core func $request.drop (canon resource.drop $incoming-request))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "response.new" (func $response.new (param i32) (result i32)))
    (import "host" "response.body" (func $response.body (param i32 i32)))
    (import "host" "outparam.set" (func $outparam.set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "body.write" (func $body.write (param i32 i32)))
    (import "host" "body.finish" (func $body.finish (param i32 i32 i32 i32)))
    (import "host" "stream.write" (func $stream.write (param i32 i32 i32 i32)))
    (import "host" "stream.drop" (func $stream.drop (param i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))

    ;; The host writes every result below at 0: the discriminant is that byte, and a handle follows at 4.
    (func (export "handle") (param $request i32) (param $out i32)
      (local $response i32) (local $body i32) (local $stream i32)
      (call $request.drop (local.get $request))
      (call $fields.from-list (i32.const 32) (i32.const 1) (i32.const 0))
      ;; a new response has status 200
      (local.set $response (call $response.new (i32.load (i32.const 4))))
      (call $response.body (local.get $response) (i32.const 0))
      (local.set $body (i32.load (i32.const 4)))
      ;; ok(response); the zeros fill the place of the largest error-code
      (call $outparam.set (local.get $out) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body.write (local.get $body) (i32.const 0))
      (local.set $stream (i32.load (i32.const 4)))
      (call $stream.write (local.get $stream) (i32.const 96) (i32.const 14) (i32.const 0))
      (call $stream.drop (local.get $stream))
      ;; no trailers
      (call $body.finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0))))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "fields.from-list" (func $fields.from-list))
      (export "response.new" (func $response.new))
      (export "response.body" (func $response.body))
      (export "outparam.set" (func $outparam.set))
      (export "body.write" (func $body.write))
      (export "body.finish" (func $body.finish))
      (export "stream.write" (func $stream.write))
      (export "stream.drop" (func $stream.drop))
      (export "request.drop" (func $request.drop))))))

  ;; include handler.wat
)
