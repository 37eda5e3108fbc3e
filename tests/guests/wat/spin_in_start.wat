;; Never returns from its start function, so it never has an instance.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Main
    (func $start (loop $forever (br $forever)))
    (start $start)
    (func (export "handle") (param $request i32) (param $out i32)))
  (core instance $main (instantiate $Main))

  ;; include handler.wat
)
