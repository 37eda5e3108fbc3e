;; Begins a response, writes a line of its body, and traps.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "respond" "begin" (func $begin (param i32 i32)))
    (import "respond" "write" (func $write (param i32 i32)))

    (data (i32.const 1024) "begun\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $write (i32.const 1024) (i32.const 6))
      unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))))

  ;; include handler.wat
)
