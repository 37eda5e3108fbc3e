;; fails at line 3: assert_invalid: expected 'type mismatch', got Unsupported: the component uses the built-in thread.index
;; A component that is only not supported here has not been found to be invalid.
(assert_invalid (component (core func (canon thread.index))) "type mismatch")
