;; wasi:cli/exit: /0 with ok, /1 with an error, both instead of an answer; /2 with ok after the client has read its
;; answer; /3 with code 3.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat

  (import "wasi:cli/exit@0.3.0" (instance $exit
    (export "exit" (func (param "status" (result))))
    (export "exit-with-code" (func (param "status-code" u8)))))
  (core func $exit.exit (canon lower (func $exit "exit")))
  (core func $exit.exit-with-code (canon lower (func $exit "exit-with-code")))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "reply" (func $reply (param i32 i32 i32 i32) (result i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "exit" "exit" (func $exit (param i32)))
    (import "exit" "exit-with-code" (func $exit-with-code (param i32)))

    (data (i32.const 96) "leaving\n")

    (func (export "handle") (param $request i32) (result i32)
      (local $case i32) (local $code i32)
      (local.set $case (call $number (local.get $request) (i32.const 0)))
      (call $request.drop (local.get $request))
      (if (i32.lt_u (local.get $case) (i32.const 2)) (then (call $exit (local.get $case))))
      (if (i32.eq (local.get $case) (i32.const 3)) (then (call $exit-with-code (i32.const 3))))
      (local.set $code (call $reply (call $new) (i32.const 200) (i32.const 96) (i32.const 8)))
      ;; a host may have read all of it already; otherwise the callback exits later
      (if (i32.eqz (local.get $code)) (then (call $exit (i32.const 0))))
      (local.get $code))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32)
      (call $exit (i32.const 0))
      unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))
    (with "exit" (instance
      (export "exit" (func $exit.exit))
      (export "exit-with-code" (func $exit.exit-with-code))))))

  ;; include p3_handler.wat
)
