  ;; The guest's memory, in its own core instance, because the lowered imports need it before the guest's own
  ;; module exists. The first MiB is the guest's: results at 0, constants below 4096, then a record for each request.
  ;; The second MiB is for strings and lists from the host, which realloc allots by advancing `heap`. A guest is done
  ;; with them before it waits, so it may reset `heap` to 0x100000 whenever it starts something new.
  ;; A page for unwanted reads follows, and then the memory that a guest adds by memory.grow.
  (core module $Memory
    (memory (export "memory") 33)
    (global $heap (export "heap") (mut i32) (i32.const 0x100000))

    (func (export "realloc")
        (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      ;; round up to the alignment, a power of two
      (local.set $at
        (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                 (i32.sub (i32.const 0) (local.get $align))))
      (if (i32.gt_u (local.get $size) (i32.sub (i32.const 0x200000) (local.get $at))) (then unreachable))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      ;; no allocation moves, because hosts ask only for fresh memory
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
