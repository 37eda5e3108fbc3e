;; fails at line 3: script: not a directive that this runner knows: (assert_wonder ...)
(component)
(assert_wonder (component))
