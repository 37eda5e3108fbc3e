;; Never returns from the destructor of its own resource, which it drops at its first request.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Destructor
    (func (export "destroy") (param $thing i32) (loop $forever (br $forever))))
  (core instance $destructor (instantiate $Destructor))
  (type $thing (resource (rep i32) (dtor (core func $destructor "destroy"))))
  (core func $thing.new (canon resource.new $thing))
  (core func $thing.drop (canon resource.drop $thing))

  (core module $Main
    (import "thing" "new" (func $new (param i32) (result i32)))
    (import "thing" "drop" (func $drop (param i32)))

    (func (export "handle") (param $request i32) (param $out i32)
      (call $drop (call $new (i32.const 1)))))
  (core instance $main (instantiate $Main
    (with "thing" (instance
      (export "new" (func $thing.new))
      (export "drop" (func $thing.drop))))))

  ;; include handler.wat
)
