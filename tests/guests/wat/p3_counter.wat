;; Answers with the number of this instance's requests, this one included: "1" from a fresh instance, and more from a
;; reused one. The count is a global, so it lives as long as the instance.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_reply.wat
  ;; include decimal.wat

  (core module $Main
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "reply" "event" (func $event (param i32 i32 i32) (result i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (export "callback" (func $event))

    (global $count (mut i32) (i32.const 0))

    (func (export "handle") (param $request i32) (result i32)
      (local $at i32) (local $len i32)
      (call $request.drop (local.get $request))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $decimal (global.get $count))
      (local.set $len)
      (local.set $at)
      (call $reply (call $new) (i32.const 200) (local.get $at) (local.get $len))))
  (core instance $main (instantiate $Main
    (with "reply" (instance $reply))
    (with "decimal" (instance $decimal))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
