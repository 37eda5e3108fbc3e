  ;; The number at the beginning of the request's path, 250 for "/250?x", or a default for a path without one. Its core
  ;; instance is $path.
  (core module $Path
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "host" "request.path" (func $request.path (param i32 i32)))

    (func (export "number") (param $request i32) (param $otherwise i32) (result i32)
      (local $at i32) (local $end i32) (local $digit i32) (local $number i32) (local $any i32)
      (global.set $heap (i32.const 0x100000))
      ;; an option<string>: its discriminant at 0, its pointer at 4, its length at 8
      (call $request.path (local.get $request) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then
          (local.set $end (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 8))))
          ;; past the slash
          (local.set $at (i32.add (i32.load (i32.const 4)) (i32.const 1)))
          (block $done
            (loop $next
              (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
              (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 0x30)))
              (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
              (local.set $any (i32.const 1))
              (local.set $number (i32.add (i32.mul (local.get $number) (i32.const 10)) (local.get $digit)))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $next)))))
      (select (local.get $number) (local.get $otherwise) (local.get $any))))
  (core instance $path (instantiate $Path
    (with "memory" (instance $memory))
    (with "host" (instance $host))))
