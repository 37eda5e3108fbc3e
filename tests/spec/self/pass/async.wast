;; Asynchronous functions: one that yields before it returns, one that waits without end, one that never returns.

(component definition $c
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $return (canon task.return (result u32)))
  (core func $set-new (canon waitable-set.new))
  (core module $m
    (import "" "return" (func $return (param i32)))
    (import "" "set-new" (func $set-new (result i32)))
    (func (export "yield") (result i32) (i32.const 1))
    (func (export "wait") (result i32) (i32.or (i32.const 2) (i32.shl (call $set-new) (i32.const 4))))
    (func (export "exit") (result i32) (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32)
      (call $return (i32.const 42))
      (i32.const 0)))
  (core instance $i (instantiate $m (with "" (instance
    (export "return" (func $return)) (export "set-new" (func $set-new))))))
  (alias core export $i "callback" (core func $callback))
  (func (export "yield") async (result u32) (canon lift (core func $i "yield") async (callback $callback)))
  (func (export "wait") async (result u32) (canon lift (core func $i "wait") async (callback $callback)))
  (func (export "exit") async (result u32) (canon lift (core func $i "exit") async (callback $callback))))

(component instance $i $c)
(assert_return (invoke "yield") (u32.const 42))
(assert_return (invoke "yield") (u32.const 42))
(assert_trap (invoke "wait") "deadlock detected")
(assert_trap (invoke "yield") "cannot enter component instance")
(component instance $one $c)
(assert_trap (invoke "exit") "failed to produce a result")
