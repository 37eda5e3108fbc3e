;; Never returns from its start function, so it never has an instance.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat

  (core module $Main
    (func $start (loop $forever (br $forever)))
    (start $start)
    (func (export "handle") (param $request i32) (result i32) unreachable)
    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32) unreachable))
  (core instance $main (instantiate $Main))

  ;; include p3_handler.wat
)
