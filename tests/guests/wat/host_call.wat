;; Calls a host function with the number in the path, and answers 200: `work` for a number below 100, and `later` for
;; others, which the host may implement by an async def.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat

  (import "acme:host/work" (instance $work
    (export "work" (func (param "which" u32)))
    (export "later" (func (param "which" u32)))))
  (core func $work.work (canon lower (func $work "work")))
  (core func $work.later (canon lower (func $work "later")))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "work" "work" (func $work (param i32)))
    (import "work" "later" (func $later (param i32)))

    (data (i32.const 1024) "worked\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (local $which i32)
      (global.set $heap (i32.const 65536))
      (local.set $which (call $number (local.get $request)))
      (if (i32.lt_u (local.get $which) (i32.const 100))
        (then (call $work (local.get $which)))
        (else (call $later (local.get $which))))
      (call $respond (local.get $out) (i32.const 200) (i32.const 1024) (i32.const 7))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "work" (instance
      (export "work" (func $work.work))
      (export "later" (func $work.later))))))

  ;; include handler.wat
)
