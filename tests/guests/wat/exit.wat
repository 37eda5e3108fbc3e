;; Calls wasi:cli/exit instead of answering: with ok, at the path /1 with an error, at /2 with ok once it has answered.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  (import "wasi:cli/exit@0.2.0" (instance $cli
    (export "exit" (func (param "status" (result))))))
  (core func $exit (canon lower (func $cli "exit")))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "host" "exit" (func $exit (param i32)))

    (data (i32.const 1024) "goodbye\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (local $how i32)
      (local.set $how (call $number (local.get $request)))
      (if (i32.eq (local.get $how) (i32.const 2))
        (then (call $respond (local.get $out) (i32.const 200) (i32.const 1024) (i32.const 8))))
      ;; the discriminant of a result: 0 is ok, 1 is err
      (call $exit (i32.eq (local.get $how) (i32.const 1)))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance (export "exit" (func $exit))))))

  ;; include handler.wat
)
