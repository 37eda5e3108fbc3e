;; Never returns and never calls its host: before its answer, or at the path /1 after it has begun one.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "begin" (func $begin (param i32 i32)))
    (import "respond" "write" (func $write (param i32 i32)))

    (data (i32.const 1024) "begun\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (if (call $number (local.get $request))
        (then
          (call $begin (local.get $out) (i32.const 200))
          (call $write (i32.const 1024) (i32.const 6))))
      (loop $forever (br $forever))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))))

  ;; include handler.wat
)
