;; Never returns from its realloc, which the host calls to pass the request's path: a busy loop below a host call.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (loop $forever (br $forever))
      unreachable))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $request.path
    (canon lower (func $http "[method]incoming-request.path-with-query") (memory $mem) (realloc $realloc)))

  (core module $Main
    (import "host" "request.path" (func $request.path (param i32 i32)))

    (func (export "handle") (param $request i32) (param $out i32)
      (call $request.path (local.get $request) (i32.const 0))))
  (core instance $main (instantiate $Main
    (with "host" (instance (export "request.path" (func $request.path))))))

  ;; include handler.wat
)
