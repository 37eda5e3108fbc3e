;; Begins a response whose body never ends: a line and then an endless wait, or at the path /1 an endless flood.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include clock.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "begin" (func $begin (param i32 i32)))
    (import "respond" "write" (func $write (param i32 i32)))
    (import "sleep" "sleep" (func $sleep (param i64)))

    (data (i32.const 1024) "begun\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (local $flood i32)
      (local.set $flood (call $number (local.get $request)))
      (call $begin (local.get $out) (i32.const 200))
      (call $write (i32.const 1024) (i32.const 6))
      (loop $forever
        (if (local.get $flood)
          (then (call $write (i32.const 1024) (i32.const 4096)))
          ;; an hour
          (else (call $sleep (i64.const 3600000000000))))
        (br $forever))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "sleep" (instance $sleep))))

  ;; include handler.wat
)
