;; fails at line 2: assert_invalid: expected 'index out of bounds', got MalformedComponent
(assert_invalid (component (core module (func i32.add))) "index out of bounds")
