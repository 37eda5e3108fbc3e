;; fails at line 2: assert_invalid: accepted, expected 'type mismatch'
(assert_invalid (component (core module)) "type mismatch")
