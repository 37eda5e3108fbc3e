;; Imports an interface that no host has. It cannot be linked, so it never runs.
(component
  ;; include io.wat
  ;; include http.wat
  (import "tests:nowhere/nothing@1.0.0" (instance $nothing
    (export "do-nothing" (func))))

  (core module $Main
    (import "host" "do-nothing" (func $do-nothing))
    (func (export "handle") (param $request i32) (param $out i32)
      (call $do-nothing)))
  (core func $do-nothing (canon lower (func $nothing "do-nothing")))
  (core instance $main (instantiate $Main
    (with "host" (instance (export "do-nothing" (func $do-nothing))))))

  ;; include handler.wat
)
