  ;; wasi:http/client of WASI 0.3; the core function $client.send is lowered asynchronously.
  (import "wasi:http/client@0.3.0" (instance $client
    (alias outer 1 $request (type $request'))
    (export "request" (type $request (eq $request')))
    (alias outer 1 $response (type $response'))
    (export "response" (type $response (eq $response')))
    (alias outer 1 $error-code (type $error-code'))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "send" (func async
      (param "request" (own $request)) (result (result (own $response) (error $error-code)))))))
  (core func $client.send (canon lower (func $client "send") async (memory $mem) (realloc $realloc)))
