;; fails at line 11: assert_trap: expected the trap 'unreachable', got 1
(component
  (core module $m
    (func (export "one") (result i32) (i32.const 1))
    (func (export "fail") unreachable)
    (func (export "spin") (loop $again (br $again))))
  (core instance $i (instantiate $m))
  (func (export "one") (result u32) (canon lift (core func $i "one")))
  (func (export "fail") (canon lift (core func $i "fail")))
  (func (export "spin") (canon lift (core func $i "spin"))))
(assert_trap (invoke "one") "unreachable")
