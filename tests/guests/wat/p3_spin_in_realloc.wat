;; Never returns from its realloc, which the host calls to pass the request's path: a busy loop below a host call.
(component
  ;; include p3_http.wat

  (core module $Memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (loop $forever (br $forever))
      unreachable))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $request.path
    (canon lower (func $http "[method]request.get-path-with-query") (memory $mem) (realloc $realloc)))

  (core module $Main
    (import "host" "request.path" (func $request.path (param i32 i32)))

    (func (export "handle") (param $request i32) (result i32)
      (call $request.path (local.get $request) (i32.const 0))
      (i32.const 0))
    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32) unreachable))
  (core instance $main (instantiate $Main
    (with "host" (instance (export "request.path" (func $request.path))))))

  ;; include p3_handler.wat
)
