;; fails at line 2: invoke: there is no instance yet
(invoke "one")
