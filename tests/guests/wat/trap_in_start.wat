;; Traps in its start function, so it never gets a request.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Main
    (func $start unreachable)
    (start $start)
    (func (export "handle") (param $request i32) (param $out i32)))
  (core instance $main (instantiate $Main))

  ;; include handler.wat
)
