;; A command, wasi:cli/run of WASI 0.2. The first letter of its first argument chooses its behaviour:
;; "args" prints all arguments, and "env" the environment, one on each line. "both" prints ten lines on stdout and stderr
;; in turn. "cat" copies stdin to stdout. "pour" writes 64 KiB twice, as far as it need not wait, and returns at once.
;; "fail" returns an error. "goodbye" exits with an error. "spin" prints a line, then computes forever. "trap" prints a
;; line, then traps. A number is its exit code. Without an argument it prints "Hello, world!".
(component
  ;; include io.wat
  ;; include memory.wat
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.2.0" (instance $exit
    (export "exit" (func (param "status" (result))))
    (export "exit-with-code" (func (param "status-code" u8)))))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $input-stream (type $input-stream'))
    (export "input-stream" (type $input-stream (eq $input-stream')))
    (export "get-stdin" (func (result (own $input-stream))))))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stdout" (func (result (own $output-stream))))))
  (import "wasi:cli/stderr@0.2.0" (instance $stderr
    (alias outer 1 $output-stream (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stderr" (func (result (own $output-stream))))))

  (core func $arguments (canon lower (func $environment "get-arguments") (memory $mem) (realloc $realloc)))
  (core func $environment (canon lower (func $environment "get-environment") (memory $mem) (realloc $realloc)))
  (core func $exit (canon lower (func $exit "exit")))
  (core func $exit-with-code (canon lower (func $exit "exit-with-code")))
  (core func $get-stdin (canon lower (func $stdin "get-stdin")))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $get-stderr (canon lower (func $stderr "get-stderr")))
  (core func $read
    (canon lower (func $streams "[method]input-stream.blocking-read") (memory $mem) (realloc $realloc)))
  (core func $check (canon lower (func $streams "[method]output-stream.check-write") (memory $mem)))
  (core func $write (canon lower (func $streams "[method]output-stream.write") (memory $mem)))
  (core func $print (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "host" "arguments" (func $arguments (param i32)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "exit-with-code" (func $exit-with-code (param i32)))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "get-stderr" (func $get-stderr (result i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "check" (func $check (param i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "print" (func $print (param i32 i32 i32 i32)))

    ;; Memory: results of calls at 0, the arguments' list at 32, the environment's at 40.
    (data (i32.const 64) "\n=Hello, world!\nout\nerr\nspinning\ntrapping\n")

    (global $out (mut i32) (i32.const 0))
    (global $err (mut i32) (i32.const 0))

    (func $say (param $at i32) (param $len i32)
      (call $print (global.get $out) (local.get $at) (local.get $len) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then unreachable)))

    ;; the string whose pointer and length are at this address
    (func $say-string (param $string i32)
      (call $say (i32.load (local.get $string)) (i32.load offset=4 (local.get $string))))

    (func $args
      (local $i i32)
      (loop $next
        (call $say-string (i32.add (i32.load (i32.const 32)) (i32.shl (local.get $i) (i32.const 3))))
        (call $say (i32.const 64) (i32.const 1))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.load (i32.const 36))))))

    (func $env
      (local $pair i32) (local $left i32)
      (call $environment (i32.const 40))
      (local.set $pair (i32.load (i32.const 40)))
      (local.set $left (i32.load (i32.const 44)))
      (loop $next
        (if (local.get $left)
          (then
            (call $say-string (local.get $pair))
            (call $say (i32.const 65) (i32.const 1))
            (call $say-string (i32.add (local.get $pair) (i32.const 8)))
            (call $say (i32.const 64) (i32.const 1))
            (local.set $pair (i32.add (local.get $pair) (i32.const 16)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br $next)))))

    (func $both
      (local $left i32)
      (local.set $left (i32.const 5))
      (loop $next
        (call $say (i32.const 80) (i32.const 4))
        (call $print (global.get $err) (i32.const 84) (i32.const 4) (i32.const 0))
        (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))

    ;; Treat a failed read as the end, which it very likely is.
    (func $cat
      (local $in i32) (local $heap i32)
      (local.set $in (call $get-stdin))
      (local.set $heap (global.get $heap))
      (loop $next
        (global.set $heap (local.get $heap))
        (call $read (local.get $in) (i64.const 4096) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (return)))
        (call $say (i32.load (i32.const 4)) (i32.load (i32.const 8)))
        (br $next)))

    (func $pour
      (local $left i32) (local $size i32)
      (memory.fill (i32.const 65536) (i32.const 0x2e) (i32.const 65536))
      (local.set $left (i32.const 2))
      (loop $next
        (call $check (global.get $out) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then unreachable))
        (local.set $size (i32.wrap_i64 (i64.load (i32.const 8))))
        (if (i32.gt_u (local.get $size) (i32.const 65536)) (then (local.set $size (i32.const 65536))))
        (call $write (global.get $out) (i32.const 65536) (local.get $size) (i32.const 0))
        (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))

    (func $number (param $at i32) (param $len i32) (result i32)
      (local $number i32)
      (loop $next
        (local.set $number
          (i32.add
            (i32.mul (local.get $number) (i32.const 10))
            (i32.sub (i32.load8_u (local.get $at)) (i32.const 0x30))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (local.tee $len (i32.sub (local.get $len) (i32.const 1)))))
      (local.get $number))

    (func (export "run") (result i32)
      (local $argument i32) (local $letter i32)
      (global.set $out (call $get-stdout))
      (global.set $err (call $get-stderr))
      (call $arguments (i32.const 32))
      (if (i32.lt_u (i32.load (i32.const 36)) (i32.const 2))
        (then
          (call $say (i32.const 66) (i32.const 14))
          (return (i32.const 0))))
      (local.set $argument (i32.add (i32.load (i32.const 32)) (i32.const 8)))
      (local.set $letter (i32.load8_u (i32.load (local.get $argument))))
      (if (i32.eq (local.get $letter) (i32.const 0x61)) (then (call $args)))
      (if (i32.eq (local.get $letter) (i32.const 0x62)) (then (call $both)))
      (if (i32.eq (local.get $letter) (i32.const 0x63)) (then (call $cat)))
      (if (i32.eq (local.get $letter) (i32.const 0x65)) (then (call $env)))
      (if (i32.eq (local.get $letter) (i32.const 0x66)) (then (return (i32.const 1))))
      (if (i32.eq (local.get $letter) (i32.const 0x67)) (then (call $exit (i32.const 1))))
      (if (i32.eq (local.get $letter) (i32.const 0x70)) (then (call $pour)))
      (if (i32.eq (local.get $letter) (i32.const 0x73))
        (then
          (call $say (i32.const 88) (i32.const 9))
          (loop $ever (br $ever))))
      (if (i32.eq (local.get $letter) (i32.const 0x74))
        (then
          (call $say (i32.const 97) (i32.const 9))
          unreachable))
      (if (i32.le_u (local.get $letter) (i32.const 0x39))
        (then (call $exit-with-code (call $number
          (i32.load (local.get $argument)) (i32.load offset=4 (local.get $argument))))))
      (i32.const 0)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "arguments" (func $arguments))
      (export "environment" (func $environment))
      (export "exit" (func $exit))
      (export "exit-with-code" (func $exit-with-code))
      (export "get-stdin" (func $get-stdin))
      (export "get-stdout" (func $get-stdout))
      (export "get-stderr" (func $get-stderr))
      (export "read" (func $read))
      (export "check" (func $check))
      (export "write" (func $write))
      (export "print" (func $print))))))

  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli))
)
