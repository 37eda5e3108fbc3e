  ;; The instance of a module that begins with p3_cases.wat.
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))
    (with "host" (instance $host))))
