  ;; wasi:clocks/monotonic-clock. The core instance $sleep has one function, which waits for a number of nanoseconds.
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable'))
    (export "pollable" (type $pollable (eq $pollable')))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core func $clock.wait (canon lower (func $clock "subscribe-duration")))
  (core func $clock.block (canon lower (func $poll "[method]pollable.block")))
  (core func $clock.drop (canon resource.drop $pollable))
  (core module $Clock
    (import "host" "wait" (func $wait (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop" (func $drop (param i32)))

    (func (export "sleep") (param $nanoseconds i64)
      (local $timer i32)
      (local.set $timer (call $wait (local.get $nanoseconds)))
      (call $block (local.get $timer))
      (call $drop (local.get $timer))))
  (core instance $sleep (instantiate $Clock
    (with "host" (instance
      (export "wait" (func $clock.wait))
      (export "block" (func $clock.block))
      (export "drop" (func $clock.drop))))))
