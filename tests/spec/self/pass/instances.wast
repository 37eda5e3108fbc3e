;; Definitions, instances with names and without, and what becomes of an instance that trapped. (; A comment (; in one ;) ;)

(component definition $counter
  (core module $m
    (global $count (mut i32) (i32.const 0))
    (func (export "next") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.get $count))
    (func (export "fail") unreachable))
  (core instance $i (instantiate $m))
  (func (export "next") (result u32) (canon lift (core func $i "next")))
  (func (export "fail") (canon lift (core func $i "fail"))))

(component instance $one $counter)
(component instance $two $counter)
(assert_return (invoke $one "next") (u32.const 1))
(assert_return (invoke $one "next") (u32.const 2))
(assert_return (invoke $two "next") (u32.const 1))
(assert_return (invoke "next") (u32.const 2)) ;; the latest instance

(assert_trap (invoke $one "fail") "unreachable")
(assert_trap (invoke $one "next") "cannot enter component instance")
(assert_return (invoke $two "next") (u32.const 3))

;; the latest definition, without names
(component instance)
(assert_return (invoke "next") (u32.const 1))

(component $named)
(component binary "\00asm" "\0d\00\01\00")
(component quote "(core module" "(func))")
(component definition binary "\00asm\0d\00\01\00")

(assert_trap
  (component
    (core module $m (func $start unreachable) (start $start))
    (core instance (instantiate $m)))
  "wasm trap: wasm `unreachable` instruction executed")

;; What no host can provide may still be defined.
(component definition (import "m" (core module)))
