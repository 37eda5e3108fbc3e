;; fails at line 12: assert_return: expected 0 results, the function has 1
(component
  (core module $m
    (func (export "one") (result i32) (i32.const 1))
    (func (export "fail") unreachable)
    (func (export "spin") (loop $again (br $again))))
  (core instance $i (instantiate $m))
  (func (export "one") (result u32) (canon lift (core func $i "one")))
  (func (export "fail") (canon lift (core func $i "fail")))
  (func (export "spin") (canon lift (core func $i "spin"))))

(assert_return (invoke "one"))
