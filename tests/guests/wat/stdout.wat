;; Writes a line to stdout in two pieces, one to stderr, and answers.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stdout" (func (result (own $output-stream))))))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $output-stream (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stderr" (func (result (own $output-stream))))))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $get-stderr (canon lower (func $stderr "get-stderr")))
  (core func $stream.write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $stream.drop (canon resource.drop $output-stream))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "get-stderr" (func $get-stderr (result i32)))
    (import "host" "stream.write" (func $stream.write (param i32 i32 i32 i32)))
    (import "host" "stream.drop" (func $stream.drop (param i32)))

    (data (i32.const 1024) "a line on stdout\n")
    (data (i32.const 1056) "a line on stderr\n")
    (data (i32.const 1088) "printed\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (local $stream i32)
      (local.set $stream (call $get-stdout))
      (call $stream.write (local.get $stream) (i32.const 1024) (i32.const 7) (i32.const 0))
      (call $stream.write (local.get $stream) (i32.const 1031) (i32.const 10) (i32.const 0))
      (call $stream.drop (local.get $stream))
      (local.set $stream (call $get-stderr))
      (call $stream.write (local.get $stream) (i32.const 1056) (i32.const 17) (i32.const 0))
      (call $stream.drop (local.get $stream))
      (call $respond (local.get $out) (i32.const 200) (i32.const 1088) (i32.const 8))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "get-stderr" (func $get-stderr))
      (export "stream.write" (func $stream.write))
      (export "stream.drop" (func $stream.drop))))))

  ;; include handler.wat
)
