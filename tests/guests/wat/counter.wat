;; Answers with the number of this instance's requests, this one included: "1" from a fresh instance, and more from a
;; reused one. The count is a global, so it lives as long as the instance.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat
  ;; include decimal.wat

  (core module $Main
    (import "memory" "heap" (global $heap (mut i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))

    (global $count (mut i32) (i32.const 0))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $at i32) (local $len i32)
      (global.set $heap (i32.const 65536))
      (call $request.drop (local.get $request))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $decimal (global.get $count))
      (local.set $len)
      (local.set $at)
      (call $respond (local.get $out) (i32.const 200) (local.get $at) (local.get $len))))

  (core func $request.drop (canon resource.drop $incoming-request))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))
    (with "decimal" (instance $decimal))
    (with "host" (instance (export "request.drop" (func $request.drop))))))

  ;; include handler.wat
)
