;; Sends no response: /0 exits without returning anything, which is a trap; /1 returns the error-code
;; HTTP-request-denied, /2 internal-error with a text, /3 DNS-error with both its fields. /4 gives up as if it had been
;; cancelled, which is a trap too.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat

  (core module $Main
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "memory" "memory" (memory 1))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "task.cancel" (func $task.cancel))

    (data (i32.const 96) "no answer to this")
    (data (i32.const 128) "NXDOMAIN")

    (func (export "handle") (param $request i32) (result i32)
      (local $case i32)
      (local.set $case (call $number (local.get $request) (i32.const 0)))
      (call $request.drop (local.get $request))
      ;; error, then the error-code's case and payload
      (if (i32.eq (local.get $case) (i32.const 1))
        (then (call $task.return (i32.const 1) (i32.const 15)
          (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
      ;; some(text)
      (if (i32.eq (local.get $case) (i32.const 2))
        (then (call $task.return (i32.const 1) (i32.const 38)
          (i32.const 1) (i64.const 96) (i32.const 17) (i32.const 0) (i32.const 0) (i32.const 0))))
      ;; some(text), some(3)
      (if (i32.eq (local.get $case) (i32.const 3))
        (then (call $task.return (i32.const 1) (i32.const 1)
          (i32.const 1) (i64.const 128) (i32.const 8) (i32.const 1) (i32.const 3) (i32.const 0))))
      (if (i32.eq (local.get $case) (i32.const 4)) (then (call $task.cancel)))
      (i32.const 0))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32) unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
