;; fails at line 2: invoke: unknown instance (none yet)
(invoke "one")
