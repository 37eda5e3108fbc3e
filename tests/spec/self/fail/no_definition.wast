;; fails at line 3: component: there is no definition $missing
(component definition $c)
(component instance $i $missing)
