;; host_call in a handler that is lifted synchronously; it answers 204 with x-waited: yes.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat

  (import "acme:host/work" (instance $work
    (export "work" (func (param "which" u32)))
    (export "later" (func async (param "which" u32)))))
  (core func $work.work (canon lower (func $work "work")))
  (core func $work.later (canon lower (func $work "later")))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "work" "work" (func $work (param i32)))
    (import "work" "later" (func $later (param i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "response.new" (func $response.new (param i32 i32 i32 i32 i32)))
    (import "host" "response.set-status" (func $response.set-status (param i32 i32) (result i32)))
    (import "host" "trailers.new" (func $trailers.new (result i64)))
    (import "host" "trailers.write" (func $trailers.write (param i32 i32) (result i32)))
    (import "host" "sent.drop-readable" (func $sent.drop-readable (param i32)))

    ;; a list of one header: the string "x-waited" and the list<u8> "yes"
    (data (i32.const 32) "\40\00\00\00" "\08\00\00\00" "\50\00\00\00" "\03\00\00\00")
    (data (i32.const 64) "x-waited")
    (data (i32.const 80) "yes")

    ;; Its result is at 1024, a result<response, error-code>: the case there, the response at 1032.
    (func (export "handle") (param $request i32) (result i32)
      (local $which i32) (local $trailers i64)
      (local.set $which (call $number (local.get $request) (i32.const 0)))
      (call $request.drop (local.get $request))
      (if (i32.lt_u (local.get $which) (i32.const 100))
        (then (call $work (local.get $which)))
        (else (call $later (local.get $which))))
      (call $fields.from-list (i32.const 32) (i32.const 1) (i32.const 0))
      (local.set $trailers (call $trailers.new))
      ;; no body
      (call $response.new (i32.load (i32.const 4)) (i32.const 0) (i32.const 0) (i32.wrap_i64 (local.get $trailers))
        (i32.const 0))
      (i32.store (i32.const 1032) (i32.load (i32.const 0)))
      (call $sent.drop-readable (i32.load (i32.const 4)))
      (drop (call $response.set-status (i32.load (i32.const 1032)) (i32.const 204)))
      ;; ok(none), from 40 zeros at 256, which the host may read at any time; the guest does not wait for that
      (drop (call $trailers.write (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))) (i32.const 256)))
      (i32.const 1024)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "work" (instance (export "work" (func $work.work)) (export "later" (func $work.later))))
    (with "host" (instance $host))))

  (func $handle async
    (param "request" (own $request)) (result (result (own $response) (error $error-code)))
    (canon lift (core func $main "handle") (memory $mem)))
  (instance $handler
    (export "request" (type $request))
    (export "response" (type $response))
    (export "error-code" (type $error-code))
    (export "handle" (func $handle)))
  (export "wasi:http/handler@0.3.0" (instance $handler))
)
