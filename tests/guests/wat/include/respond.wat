  ;; The common part of most guests: an answer with a status code and a text. They may use `begin`, `write` and `end`
  ;; directly, or `respond` for all three. Bytes 0 to 63 of the memory belong to it, and "content-type" at 64 and 80.
  (core func $fields.from-list (canon lower (func $http "[static]fields.from-list") (memory $mem)))
  (core func $response.new (canon lower (func $http "[constructor]outgoing-response")))
  (core func $response.set-status (canon lower (func $http "[method]outgoing-response.set-status-code")))
  (core func $response.body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $outparam.set (canon lower (func $http "[static]response-outparam.set") (memory $mem)))
  (core func $body.write (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $body.finish (canon lower (func $http "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))
  (core func $out.write-and-flush
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $out.drop (canon resource.drop $output-stream))

  (core module $Respond
    (import "memory" "memory" (memory 1))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "response.new" (func $response.new (param i32) (result i32)))
    (import "host" "response.set-status" (func $response.set-status (param i32 i32) (result i32)))
    (import "host" "response.body" (func $response.body (param i32 i32)))
    (import "host" "outparam.set" (func $outparam.set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "body.write" (func $body.write (param i32 i32)))
    (import "host" "body.finish" (func $body.finish (param i32 i32 i32 i32)))
    (import "host" "out.write-and-flush" (func $out.write-and-flush (param i32 i32 i32 i32)))
    (import "host" "out.drop" (func $out.drop (param i32)))

    ;; a list of one header: the string "content-type" and the list<u8> "text/plain"
    (data (i32.const 40) "\40\00\00\00" "\0c\00\00\00" "\50\00\00\00" "\0a\00\00\00")
    (data (i32.const 64) "content-type")
    (data (i32.const 80) "text/plain")

    (global $body (export "body") (mut i32) (i32.const 0))
    (global $stream (export "stream") (mut i32) (i32.const 0))

    ;; The host writes results at 0: the discriminant is that byte, and the payload follows at 4.
    (func $ok (if (i32.load8_u (i32.const 0)) (then unreachable)))

    ;; Set a response with this status code, and leave its body's stream open.
    (func $begin (export "begin") (param $outparam i32) (param $status i32)
      (local $response i32)
      (call $fields.from-list (i32.const 40) (i32.const 1) (i32.const 0))
      (call $ok)
      (local.set $response (call $response.new (i32.load (i32.const 4))))
      (drop (call $response.set-status (local.get $response) (local.get $status)))
      (call $response.body (local.get $response) (i32.const 0))
      (call $ok)
      (global.set $body (i32.load (i32.const 4)))
      ;; ok(response); the zeros fill the place of the largest error-code
      (call $outparam.set (local.get $outparam) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body.write (global.get $body) (i32.const 0))
      (call $ok)
      (global.set $stream (i32.load (i32.const 4))))

    ;; Write at most 4096 bytes.
    (func $write (export "write") (param $at i32) (param $len i32)
      (call $out.write-and-flush (global.get $stream) (local.get $at) (local.get $len) (i32.const 0))
      (call $ok))

    ;; Finish the body, without trailers.
    (func $end (export "end")
      (call $out.drop (global.get $stream))
      (call $body.finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $ok))

    (func (export "respond") (param $outparam i32) (param $status i32) (param $at i32) (param $len i32)
      (call $begin (local.get $outparam) (local.get $status))
      (if (local.get $len) (then (call $write (local.get $at) (local.get $len))))
      (call $end)))

  (core instance $respond (instantiate $Respond
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "fields.from-list" (func $fields.from-list))
      (export "response.new" (func $response.new))
      (export "response.set-status" (func $response.set-status))
      (export "response.body" (func $response.body))
      (export "outparam.set" (func $outparam.set))
      (export "body.write" (func $body.write))
      (export "body.finish" (func $body.finish))
      (export "out.write-and-flush" (func $out.write-and-flush))
      (export "out.drop" (func $out.drop))))))
