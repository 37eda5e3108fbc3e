  ;; The export of wasi:http/handler of WASI 0.3: $main's `handle`, and its `callback` for events.
  ;; A guest that imports a handler, such as a middleware, uses the types.
  (func $handle async
    (param "request" (own $request)) (result (result (own $response) (error $error-code)))
    (canon lift (core func $main "handle") async (memory $mem) (callback (core func $main "callback"))))
  (instance $handler
    (export "request" (type $request))
    (export "response" (type $response))
    (export "error-code" (type $error-code))
    (export "handle" (func $handle)))
  (export "wasi:http/handler@0.3.0" (instance $handler))
