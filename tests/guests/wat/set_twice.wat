;; Sets its response twice. The first call takes the outparam's handle, so the second uses an index that is free, or
;; belongs to a newer resource of another type.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat

  (core module $Main
    (import "respond" "begin" (func $begin (param i32 i32)))

    (func (export "handle") (param $request i32) (param $out i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $begin (local.get $out) (i32.const 201))))
  (core instance $main (instantiate $Main (with "respond" (instance $respond))))

  ;; include handler.wat
)
