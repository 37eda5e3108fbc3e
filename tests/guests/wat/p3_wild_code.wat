;; Wrong codes of `handle` and `callback` for wait, yield or exit. Every case except fine- must trap,
;; some of them after the response has begun.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat
  ;; include p3_clock.wat

  (core module $Main
    ;; include p3_cases.wat

    (table $cases funcref (elem
      $fine
      $fine-yield
      $fine-yield-with-no-set
      $code-3
      $code-4
      $code-15
      $code-3-with-a-set
      $exit-without-a-response
      $exit-without-a-response-with-a-set
      $wait-with-zero
      $wait-with-never-given
      $wait-with-the-largest
      $wait-with-a-resource
      $wait-with-a-stream
      $wait-with-a-subtask
      $wait-with-a-dropped-set
      $later-code-3
      $later-code-15
      $later-exit-without-a-response
      $later-wait-with-zero
      $later-wait-with-never-given
      $later-wait-with-a-resource
      $begun-code-3
      $begun-wait-with-never-given
      $begun-later-code-15
      $begun-later-wait-with-a-resource))

    ;; The next result of `callback`.
    (func $then (param $record i32) (param $code i32) (i32.store offset=24 (local.get $record) (local.get $code)))

    (func $wait-with (param $set i32) (result i32) (i32.or (i32.shl (local.get $set) (i32.const 4)) (i32.const 2)))

    (func $fine (param $request i32) (param $record i32) (result i32) (i32.const -1))

    (func $fine-yield (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (i32.const -1))
      (i32.const 1))

    ;; without waiting, the host ignores the set
    (func $fine-yield-with-no-set (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (i32.const -1))
      (i32.const 0x3e81))

    ;; 3 is the former code of poll
    (func $code-3 (param $request i32) (param $record i32) (result i32) (i32.const 3))
    (func $code-4 (param $request i32) (param $record i32) (result i32) (i32.const 4))
    (func $code-15 (param $request i32) (param $record i32) (result i32) (i32.const 15))
    (func $code-3-with-a-set (param $request i32) (param $record i32) (result i32)
      (i32.or (i32.const 3) (i32.shl (i32.load (local.get $record)) (i32.const 4))))
    (func $exit-without-a-response (param $request i32) (param $record i32) (result i32) (i32.const 0))
    (func $exit-without-a-response-with-a-set (param $request i32) (param $record i32) (result i32)
      (i32.shl (i32.load (local.get $record)) (i32.const 4)))
    (func $wait-with-zero (param $request i32) (param $record i32) (result i32) (call $wait-with (i32.const 0)))
    (func $wait-with-never-given (param $request i32) (param $record i32) (result i32)
      (call $wait-with (i32.const 1000)))
    (func $wait-with-the-largest (param $request i32) (param $record i32) (result i32)
      (call $wait-with (i32.const 0x0fffffff)))
    (func $wait-with-a-resource (param $request i32) (param $record i32) (result i32)
      (call $wait-with (local.get $request)))

    (func $wait-with-a-stream (param $request i32) (param $record i32) (result i32)
      (call $new-bytes)
      (call $wait-with (global.get $readable)))

    (func $wait-with-a-subtask (param $request i32) (param $record i32) (result i32) (call $wait-with (call $hour)))

    (func $wait-with-a-dropped-set (param $request i32) (param $record i32) (result i32)
      (local $set i32)
      (local.set $set (call $set.new))
      (call $set.drop (local.get $set))
      (call $wait-with (local.get $set)))

    (func $later-code-3 (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (i32.const 3))
      (i32.const 1))

    (func $later-code-15 (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (i32.const 0x1f))
      (i32.const 1))

    (func $later-exit-without-a-response (param $request i32) (param $record i32) (result i32)
      ;; exit, but with a set, and without a returned value
      (call $then (local.get $record) (i32.const 16))
      (i32.const 1))

    (func $later-wait-with-zero (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (call $wait-with (i32.const 0)))
      (i32.const 1))

    (func $later-wait-with-never-given (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (call $wait-with (i32.const 1000)))
      (i32.const 1))

    (func $later-wait-with-a-resource (param $request i32) (param $record i32) (result i32)
      (call $then (local.get $record) (call $wait-with (local.get $request)))
      (i32.const 1))

    ;; once the response has begun
    (func $begun (param $record i32)
      (call $begin (local.get $record) (i32.const 200) (call $text-fields)))

    (func $begun-code-3 (param $request i32) (param $record i32) (result i32)
      (call $begun (local.get $record))
      (i32.const 3))

    (func $begun-wait-with-never-given (param $request i32) (param $record i32) (result i32)
      (call $begun (local.get $record))
      (call $wait-with (i32.const 1000)))

    (func $begun-later-code-15 (param $request i32) (param $record i32) (result i32)
      (call $begun (local.get $record))
      (call $then (local.get $record) (i32.const 15))
      (i32.const 1))

    (func $begun-later-wait-with-a-resource (param $request i32) (param $record i32) (result i32)
      (call $begun (local.get $record))
      (call $then (local.get $record) (call $wait-with (local.get $request)))
      (i32.const 1)))
  ;; include p3_main.wat

  ;; include p3_handler.wat
)
