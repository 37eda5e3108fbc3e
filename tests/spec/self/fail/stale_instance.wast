;; fails at line 8: component: Trap: wasm trap: wasm `unreachable` instruction executed
(component
  (core module $m (func (export "one") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "one") (result u32) (canon lift (core func $i "one"))))
(assert_return (invoke "one") (u32.const 1))
;; The call after it is not one of the instance before it.
(component
  (core module $m (func $start unreachable) (start $start))
  (core instance (instantiate $m)))
(assert_return (invoke "one") (u32.const 1))
