;; Returns without setting a response. It keeps the outparam's handle, or at the path /1 drops it.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat

  (core module $Main
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "host" "outparam.drop" (func $outparam.drop (param i32)))

    (func (export "handle") (param $request i32) (param $out i32)
      (if (call $number (local.get $request))
        (then (call $outparam.drop (local.get $out))))))
  (core func $outparam.drop (canon resource.drop $response-outparam))
  (core instance $main (instantiate $Main
    (with "path" (instance $path))
    (with "host" (instance (export "outparam.drop" (func $outparam.drop))))))

  ;; include handler.wat
)
