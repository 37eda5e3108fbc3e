  ;; wasi:clocks/monotonic-clock of WASI 0.3; the core function $clock.wait-for is lowered asynchronously. It takes
  ;; nanoseconds, and returns 2 (returned), or 1 (started) with a subtask in its upper bits.
  (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
    (export "wait-for" (func async (param "how-long" u64)))))
  (core func $clock.wait-for (canon lower (func $clock "wait-for") async (memory $mem)))
