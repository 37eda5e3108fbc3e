;; Begins a response, drops its body unfinished and returns. The client must see that the body is cut.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "respond" "begin" (func $begin (param i32 i32)))
    (import "respond" "write" (func $write (param i32 i32)))
    (import "respond" "body" (global $body (mut i32)))
    (import "respond" "stream" (global $stream (mut i32)))
    (import "host" "stream.drop" (func $stream.drop (param i32)))
    (import "host" "body.drop" (func $body.drop (param i32)))

    (data (i32.const 1024) "begun\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $write (i32.const 1024) (i32.const 6))
      (call $stream.drop (global.get $stream))
      (call $body.drop (global.get $body))))
  (core func $stream.drop (canon resource.drop $output-stream))
  (core func $body.drop (canon resource.drop $outgoing-body))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))
    (with "host" (instance
      (export "stream.drop" (func $stream.drop))
      (export "body.drop" (func $body.drop))))))

  ;; include handler.wat
)
