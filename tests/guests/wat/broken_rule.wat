;; Well-formed calls that break a rule of wasi:io or wasi:http. The host must detect them. Every case except fine- and
;; may- must trap. Hosts differ on cases named may-.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include host.wat

  (core module $Main
    ;; include cases.wat

    (table $cases funcref (elem
      $fine
      $fine-consume-twice
      $fine-stream-twice
      $fine-body-twice
      $poll-of-nothing
      $write-beyond-the-permit
      $write-and-flush-too-much
      $may-drop-request-body-before-its-stream
      $may-drop-response-body-before-its-stream
      $finish-before-its-stream
      $finish-request-body-before-its-stream
      $may-drop-request-before-its-headers
      $may-drop-stream-before-its-pollable))

    (func $fine (param $request i32) (param $out i32) (result i32) (i32.const 0))

    ;; the second time is an error, not a trap
    (func $fine-consume-twice (param $request i32) (param $out i32) (result i32)
      (call $request.consume (local.get $request) (i32.const 0))
      (drop (call $handle))
      (call $request.consume (local.get $request) (i32.const 0))
      (if (i32.eqz (call $failed)) (then unreachable))
      (i32.const 0))

    (func $fine-stream-twice (param $request i32) (param $out i32) (result i32)
      (local $incoming i32)
      (call $request.consume (local.get $request) (i32.const 0))
      (local.set $incoming (call $handle))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (drop (call $handle))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (if (i32.eqz (call $failed)) (then unreachable))
      (i32.const 0))

    (func $fine-body-twice (param $request i32) (param $out i32) (result i32)
      (local $response i32)
      (local.set $response (call $response.new (call $fields.new)))
      (call $response.body (local.get $response) (i32.const 0))
      (drop (call $handle))
      (call $response.body (local.get $response) (i32.const 0))
      (if (i32.eqz (call $failed)) (then unreachable))
      (i32.const 0))

    (func $poll-of-nothing (param $request i32) (param $out i32) (result i32)
      (call $poll (i32.const 128) (i32.const 0) (i32.const 0))
      (i32.const 0))

    (func $write-beyond-the-permit (param $request i32) (param $out i32) (result i32)
      (local $permit i64) (local $size i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.check (global.get $stream) (i32.const 0))
      (if (call $failed) (then (unreachable)))
      (local.set $permit (i64.load (i32.const 8)))
      ;; one byte more than the limit of memory
      (local.set $size (i32.wrap_i64 (i64.add (local.get $permit) (i64.const 1))))
      (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))
      (call $out.write (global.get $stream) (i32.const 0) (local.get $size) (i32.const 0))
      (call $end)
      (i32.const 1))

    (func $write-and-flush-too-much (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.write-and-flush (global.get $stream) (i32.const 0) (i32.const 4097) (i32.const 0))
      (call $end)
      (i32.const 1))

    (func $may-drop-request-body-before-its-stream (param $request i32) (param $out i32) (result i32)
      (local $incoming i32)
      (call $request.consume (local.get $request) (i32.const 0))
      (local.set $incoming (call $handle))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (drop (call $handle))
      (call $incoming.drop (local.get $incoming))
      (i32.const 0))

    (func $may-drop-response-body-before-its-stream (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $outgoing.drop (global.get $body))
      (i32.const 1))

    (func $finish-before-its-stream (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $outgoing.finish (global.get $body) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 1))

    (func $finish-request-body-before-its-stream (param $request i32) (param $out i32) (result i32)
      (local $incoming i32)
      (call $request.consume (local.get $request) (i32.const 0))
      (local.set $incoming (call $handle))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (drop (call $handle))
      (drop (call $incoming.finish (local.get $incoming)))
      (i32.const 0))

    (func $may-drop-request-before-its-headers (param $request i32) (param $out i32) (result i32)
      (drop (call $request.headers (local.get $request)))
      (call $request.drop (local.get $request))
      (i32.const 0))

    (func $may-drop-stream-before-its-pollable (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (drop (call $out.subscribe (global.get $stream)))
      (call $out.drop (global.get $stream))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
