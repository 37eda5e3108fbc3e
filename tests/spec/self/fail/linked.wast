;; fails at line 2: assert_unlinkable: linked, expected 'unknown import'
(assert_unlinkable (component) "unknown import")
