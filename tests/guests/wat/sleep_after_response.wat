;; Answers, and then sleeps for the milliseconds in the path: /250 for a quarter of a second.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include clock.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "sleep" "sleep" (func $sleep (param i64)))

    (data (i32.const 1024) "answered\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (local $milliseconds i32)
      (global.set $heap (i32.const 65536))
      (local.set $milliseconds (call $number (local.get $request)))
      (call $respond (local.get $out) (i32.const 200) (i32.const 1024) (i32.const 9))
      (call $sleep (i64.mul (i64.extend_i32_u (local.get $milliseconds)) (i64.const 1000000)))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "sleep" (instance $sleep))))

  ;; include handler.wat
)
