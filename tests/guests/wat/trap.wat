;; Traps before it has answered.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Main
    (func (export "handle") (param $request i32) (param $out i32)
      unreachable))
  (core instance $main (instantiate $Main))

  ;; include handler.wat
)
