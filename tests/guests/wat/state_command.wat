;; A command that keeps state: it prints the variable "greeting" of wasi:config, and adds 1 to the counter "runs" of the
;; default bucket of wasi:keyvalue. It returns an error if the variable is missing or the counter fails.
(component
  ;; include io.wat
  ;; include memory.wat
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stdout" (func (result (own $output-stream))))))
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (import "wasi:keyvalue/store@0.2.0-draft2" (instance $store
    (export "bucket" (type $bucket (sub resource)))
    (type $error' (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $error')))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))))
  (alias export $store "bucket" (type $bucket))
  (alias export $store "error" (type $store-error))
  (import "wasi:keyvalue/atomics@0.2.0-draft2" (instance $atomics
    (alias outer 1 $bucket (type $bucket''))
    (export "bucket" (type $bucket (eq $bucket'')))
    (alias outer 1 $store-error (type $error''))
    (export "error" (type $error (eq $error'')))
    (export "increment"
      (func (param "bucket" (borrow $bucket)) (param "key" string) (param "delta" s64)
        (result (result s64 (error $error)))))))

  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $print (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $config.get (canon lower (func $config "get") (memory $mem) (realloc $realloc)))
  (core func $open (canon lower (func $store "open") (memory $mem) (realloc $realloc)))
  (core func $increment (canon lower (func $atomics "increment") (memory $mem) (realloc $realloc)))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "print" (func $print (param i32 i32 i32 i32)))
    (import "host" "config.get" (func $config.get (param i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "increment" (func $increment (param i32 i32 i32 i64 i32)))

    (data (i32.const 64) "greeting" "default" "runs")

    (func (export "run") (result i32)
      (call $config.get (i32.const 64) (i32.const 8) (i32.const 0))
      (if (i32.eqz (i32.load8_u (i32.const 4))) (then (return (i32.const 1))))
      (call $print (call $get-stdout) (i32.load (i32.const 8)) (i32.load (i32.const 12)) (i32.const 0))
      (call $open (i32.const 72) (i32.const 7) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
      (call $increment (i32.load (i32.const 4)) (i32.const 79) (i32.const 4) (i64.const 1) (i32.const 0))
      (i32.load8_u (i32.const 0))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "get-stdout" (func $get-stdout))
      (export "print" (func $print))
      (export "config.get" (func $config.get))
      (export "open" (func $open))
      (export "increment" (func $increment))))))

  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
