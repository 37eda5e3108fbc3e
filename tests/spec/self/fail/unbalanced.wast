;; fails at line 3: script: a parenthesis is never closed
(component)
(invoke "f"
(component)
