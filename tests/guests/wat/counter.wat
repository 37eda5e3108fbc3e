;; Answers with how many requests this instance has been given, this one included: "1" from a fresh instance,
;; and counting up where an instance is used again. The count is a global, so it lives as long as the instance.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))

    (global $count (mut i32) (i32.const 0))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $at i32) (local $rest i32)
      (global.set $heap (i32.const 65536))
      (call $request.drop (local.get $request))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))

      ;; its decimal digits, last first, downwards from a newline at 1055
      (local.set $at (i32.const 1055))
      (i32.store8 (local.get $at) (i32.const 0x0a))
      (local.set $rest (global.get $count))
      (loop $digits
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.store8 (local.get $at) (i32.add (i32.const 0x30) (i32.rem_u (local.get $rest) (i32.const 10))))
        (br_if $digits (local.tee $rest (i32.div_u (local.get $rest) (i32.const 10)))))

      (call $respond (local.get $out) (i32.const 200) (local.get $at) (i32.sub (i32.const 1056) (local.get $at)))))

  (core func $request.drop (canon resource.drop $incoming-request))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))
    (with "host" (instance (export "request.drop" (func $request.drop))))))

  ;; include handler.wat
)
