;; Answers completely, and then traps in the function that the host calls after `handle`.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))

    (data (i32.const 1024) "answered\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (call $respond (local.get $out) (i32.const 200) (i32.const 1024) (i32.const 9)))
    (func (export "post-return")
      unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))))

  (func $handle
    (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle") (post-return (core func $main "post-return"))))
  (instance $incoming-handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $incoming-handler))
)
