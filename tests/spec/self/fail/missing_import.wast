;; fails at line 2: component: LinkError: nothing provides these imports
(component (import "f" (func)))
