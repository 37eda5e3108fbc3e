  ;; The handler behind this one; the core function $next.handle is lowered asynchronously.
  (import "wasi:http/handler@0.3.0" (instance $next
    (alias outer 1 $request (type $request'))
    (export "request" (type $request (eq $request')))
    (alias outer 1 $response (type $response'))
    (export "response" (type $response (eq $response')))
    (alias outer 1 $error-code (type $error-code'))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "handle" (func async
      (param "request" (own $request)) (result (result (own $response) (error $error-code)))))))
  (core func $next.handle (canon lower (func $next "handle") async (memory $mem) (realloc $realloc)))
