;; fails at line 3: component: unknown definition $missing
(component definition $c)
(component instance $i $missing)
