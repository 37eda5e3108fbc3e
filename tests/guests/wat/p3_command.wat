;; A command, wasi:cli/run of WASI 0.3. Without an argument it prints "Hello, world!". Otherwise it prints its argument.
;; A number is then its exit code, "fail" returns an error, and "trap" traps. "cat" copies stdin to stdout instead. Its
;; output ends with a newline.
(component
  ;; include p3_memory.wat

  (import "wasi:cli/types@0.3.0" (instance $types
    (type $error-code' (enum "io" "illegal-byte-sequence" "pipe"))
    (export "error-code" (type (eq $error-code')))))
  (alias export $types "error-code" (type $error-code))
  (import "wasi:cli/environment@0.3.0" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.3.0" (instance $exit
    (export "exit-with-code" (func (param "status-code" u8)))))
  (import "wasi:cli/stdin@0.3.0" (instance $stdin
    (alias outer 1 $error-code (type $error-code'))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "read-via-stream" (func (result (tuple (stream u8) (future (result (error $error-code)))))))))
  (import "wasi:cli/stdout@0.3.0" (instance $stdout
    (alias outer 1 $error-code (type $error-code'))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "write-via-stream" (func (param "data" (stream u8)) (result (future (result (error $error-code))))))))
  ;; text, and its outcome
  (type $bytes (stream u8))
  (type $outcome (future (result (error $error-code))))

  (core func $arguments (canon lower (func $environment "get-arguments") (memory $mem) (realloc $realloc)))
  (core func $exit (canon lower (func $exit "exit-with-code")))
  (core func $stdin.read (canon lower (func $stdin "read-via-stream") (memory $mem)))
  (core func $stdout.write (canon lower (func $stdout "write-via-stream")))
  (core func $task.return (canon task.return (result (result))))
  (core func $set.new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $bytes.new (canon stream.new $bytes))
  (core func $bytes.write (canon stream.write $bytes async (memory $mem)))
  (core func $bytes.drop (canon stream.drop-writable $bytes))
  (core func $outcome.read (canon future.read $outcome async (memory $mem)))
  (core func $outcome.drop (canon future.drop-readable $outcome))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "host" "arguments" (func $arguments (param i32)))
    (import "host" "exit" (func $exit (param i32)))
    (import "host" "stdin.read" (func $stdin.read (param i32)))
    (import "host" "stdout.write" (func $stdout.write (param i32) (result i32)))
    (import "host" "task.return" (func $task.return (param i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "bytes.new" (func $bytes.new (result i64)))
    (import "host" "bytes.write" (func $bytes.write (param i32 i32 i32) (result i32)))
    (import "host" "bytes.drop" (func $bytes.drop (param i32)))
    (import "host" "outcome.read" (func $outcome.read (param i32 i32) (result i32)))
    (import "host" "outcome.drop" (func $outcome.drop (param i32)))

    (data (i32.const 96) "Hello, world!")
    (data (i32.const 112) "fail")
    (data (i32.const 116) "trap")
    (data (i32.const 120) "cat")

    ;; The output: at most 4000 bytes, copied to 0x1000. The rest is for waiting.
    (global $at (mut i32) (i32.const 96))
    (global $left (mut i32) (i32.const 13))
    (global $set (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0))
    (global $outcome (mut i32) (i32.const 0))

    ;; The end: 0 is ok, 1 an error, 2 a trap, 3 the code.
    (global $end (mut i32) (i32.const 0))
    (global $code (mut i32) (i32.const 0))

    ;; Compare the output with this text.
    (func $is (param $what i32) (param $len i32) (result i32)
      (local $i i32)
      (if (i32.ne (global.get $left) (local.get $len)) (then (return (i32.const 0))))
      (loop $next
        (if (i32.ne
              (i32.load8_u (i32.add (global.get $at) (local.get $i)))
              (i32.load8_u (i32.add (local.get $what) (local.get $i))))
          (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (local.get $len))))
      (i32.const 1))

    ;; Parse the output as the code. The result is whether it is a number.
    (func $is-number (result i32)
      (local $i i32) (local $digit i32)
      (if (i32.eqz (global.get $left)) (then (return (i32.const 0))))
      (loop $next
        (local.set $digit
          (i32.sub (i32.load8_u (i32.add (global.get $at) (local.get $i))) (i32.const 0x30)))
        (if (i32.gt_u (local.get $digit) (i32.const 9)) (then (return (i32.const 0))))
        (global.set $code (i32.add (i32.mul (global.get $code) (i32.const 10)) (local.get $digit)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (global.get $left))))
      (i32.const 1))

    (func (export "run") (result i32)
      (local $arguments i32) (local $stream i64)
      (global.set $set (call $set.new))
      ;; a list<string>: its pointer at 0, its length at 4. The first string is the command's own name.
      (call $arguments (i32.const 0))
      (if (i32.gt_u (i32.load (i32.const 4)) (i32.const 1))
        (then
          (local.set $arguments (i32.load (i32.const 0)))
          (global.set $at (i32.load offset=8 (local.get $arguments)))
          (global.set $left (i32.load offset=12 (local.get $arguments)))
          (if (call $is (i32.const 120) (i32.const 3)) (then (return (call $cat))))
          (if (call $is (i32.const 112) (i32.const 4)) (then (global.set $end (i32.const 1))))
          (if (call $is (i32.const 116) (i32.const 4)) (then (global.set $end (i32.const 2))))
          (if (call $is-number) (then (global.set $end (i32.const 3))))))
      (if (i32.gt_u (global.get $left) (i32.const 4000)) (then unreachable))
      (memory.copy (i32.const 0x1000) (global.get $at) (global.get $left))
      (i32.store8 (i32.add (i32.const 0x1000) (global.get $left)) (i32.const 0x0a))
      (global.set $at (i32.const 0x1000))
      (global.set $left (i32.add (global.get $left) (i32.const 1)))
      (local.set $stream (call $bytes.new))
      (global.set $out (i32.wrap_i64 (i64.shr_u (local.get $stream) (i64.const 32))))
      (global.set $outcome (call $stdout.write (i32.wrap_i64 (local.get $stream))))
      (call $join (global.get $out) (global.get $set))
      (call $write))

    ;; Copy stdin, and ignore the outcome of reading.
    (func $cat (result i32)
      ;; a tuple: the stream at 0, its outcome at 4
      (call $stdin.read (i32.const 0))
      (call $outcome.drop (i32.load (i32.const 4)))
      (global.set $outcome (call $stdout.write (i32.load (i32.const 0))))
      (call $finish))

    (func $wait (result i32) (i32.or (i32.shl (global.get $set) (i32.const 4)) (i32.const 2)))

    (func $write (result i32)
      (local $how i32)
      (local.set $how (call $bytes.write (global.get $out) (global.get $at) (global.get $left)))
      (if (i32.eq (local.get $how) (i32.const -1)) (then (return (call $wait))))
      (call $written (local.get $how)))

    (func $written (param $how i32) (result i32)
      (global.set $at (i32.add (global.get $at) (i32.shr_u (local.get $how) (i32.const 4))))
      (global.set $left (i32.sub (global.get $left) (i32.shr_u (local.get $how) (i32.const 4))))
      ;; 1: the reader is gone
      (if (i32.eqz (i32.and (local.get $how) (i32.const 1)))
        (then (if (global.get $left) (then (return (call $write))))))
      (call $bytes.drop (global.get $out))
      (call $finish))

    ;; Wait until the output is written or has failed: a result<_, error-code> at 0.
    (func $finish (result i32)
      (if (i32.eq (call $outcome.read (global.get $outcome) (i32.const 0)) (i32.const -1))
        (then
          (call $join (global.get $outcome) (global.get $set))
          (return (call $wait))))
      (call $leave))

    (func $leave (result i32)
      (call $outcome.drop (global.get $outcome))
      (if (i32.load8_u (i32.const 0)) (then (global.set $end (i32.const 1))))
      (if (i32.eq (global.get $end) (i32.const 2)) (then unreachable))
      (if (i32.eq (global.get $end) (i32.const 3)) (then (call $exit (global.get $code))))
      (call $task.return (global.get $end))
      (i32.const 0))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      ;; stream-write; the other is future-read
      (if (i32.eq (local.get $event) (i32.const 3)) (then (return (call $written (local.get $how)))))
      (call $leave)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "arguments" (func $arguments))
      (export "exit" (func $exit))
      (export "stdin.read" (func $stdin.read))
      (export "stdout.write" (func $stdout.write))
      (export "task.return" (func $task.return))
      (export "set.new" (func $set.new))
      (export "join" (func $join))
      (export "bytes.new" (func $bytes.new))
      (export "bytes.write" (func $bytes.write))
      (export "bytes.drop" (func $bytes.drop))
      (export "outcome.read" (func $outcome.read))
      (export "outcome.drop" (func $outcome.drop))))))

  (func $run async (result (result))
    (canon lift (core func $main "run") async (callback (core func $main "callback"))))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.3.0" (instance $cli))
)
