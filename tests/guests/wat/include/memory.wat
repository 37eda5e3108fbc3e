  ;; The guest's memory, in its own core instance, because the lowered imports need it before the guest's own
  ;; module exists. Its realloc only advances a pointer, from 64 KiB up, and grows the memory if necessary.
  ;; A guest frees everything at once by resetting the exported `heap`.
  (core module $Memory
    (memory (export "memory") 2)
    (global $heap (export "heap") (mut i32) (i32.const 65536))

    (func (export "realloc")
        (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      ;; round up to the alignment, a power of two
      (local.set $at
        (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                 (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits
          (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
        (br_if $fits
          (i32.ne (i32.const -1)
            (memory.grow
              (i32.shr_u
                (i32.add (i32.sub (global.get $heap) (i32.shl (memory.size) (i32.const 16))) (i32.const 65535))
                (i32.const 16)))))
        unreachable)
      ;; no allocation moves, because hosts ask only for fresh memory
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
