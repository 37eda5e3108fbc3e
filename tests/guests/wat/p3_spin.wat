;; A busy loop: /0 before its answer, /1 after it, /2 in its callback before the answer; /3 yields endlessly, so that other
;; requests run meanwhile.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "text-fields" (func $text-fields (result i32)))
    (import "reply" "begin" (func $begin (param i32 i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "context.get" (func $context.get (result i32)))
    (import "host" "context.set" (func $context.set (param i32)))

    (func (export "handle") (param $request i32) (result i32)
      (local $case i32)
      (local.set $case (call $number (local.get $request) (i32.const 0)))
      (call $request.drop (local.get $request))
      (if (i32.eq (local.get $case) (i32.const 1))
        (then (call $begin (call $new) (i32.const 200) (call $text-fields))))
      (if (i32.ge_u (local.get $case) (i32.const 2))
        (then
          (call $context.set (i32.eq (local.get $case) (i32.const 2)))
          ;; yield
          (return (i32.const 1))))
      (loop $forever (br $forever))
      unreachable)

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (if (call $context.get) (then (loop $forever (br $forever))))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
