;; Invalid cases of a result, an option or a variant, and text that is not UTF-8. Every case except
;; fine- must trap: those of task.return before the response, those of trailers after it has begun.
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
      $return-result-2
      $return-result-negative
      $return-error-39
      $return-error-negative
      $return-option-2
      $return-text-cut-short
      $return-text-of-a-surrogate
      $trailers-result-2
      $trailers-result-255
      $trailers-option-2
      $trailers-error-39
      $trailers-error-with-option-2
      $trailers-error-with-text-past-the-end
      $trailers-error-with-text-that-is-not-utf-8))

    (func $fine (param $request i32) (param $record i32) (result i32) (i32.const -1))

    (func $return
        (param $result i32) (param $case i32) (param $option i32) (param $text i32) (param $len i32) (result i32)
      (call $task.return (local.get $result) (local.get $case)
        (local.get $option) (i64.extend_i32_u (local.get $text)) (local.get $len)
        (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 0))

    (func $return-result-2 (param $request i32) (param $record i32) (result i32)
      (call $return (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (func $return-result-negative (param $request i32) (param $record i32) (result i32)
      (call $return (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (func $return-error-39 (param $request i32) (param $record i32) (result i32)
      (call $return (i32.const 1) (i32.const 39) (i32.const 0) (i32.const 0) (i32.const 0)))
    (func $return-error-negative (param $request i32) (param $record i32) (result i32)
      (call $return (i32.const 1) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0)))
    ;; internal-error has an option<string>
    (func $return-option-2 (param $request i32) (param $record i32) (result i32)
      (call $return (i32.const 1) (i32.const 38) (i32.const 2) (i32.const 200) (i32.const 8)))

    (func $return-text-cut-short (param $request i32) (param $record i32) (result i32)
      ;; the first two bytes of three
      (i32.store16 (i32.const 1024) (i32.const 0x82e2))
      (call $return (i32.const 1) (i32.const 38) (i32.const 1) (i32.const 1024) (i32.const 2)))

    (func $return-text-of-a-surrogate (param $request i32) (param $record i32) (result i32)
      (i32.store (i32.const 1024) (i32.const 0x80a0ed))
      (call $return (i32.const 1) (i32.const 38) (i32.const 1) (i32.const 1024) (i32.const 3)))

    ;; An answer without a body, whose trailers are at 1024: the result's case there, the option's or error-code's 8 bytes
    ;; further, and its payload 8 bytes further again, or 4 for the option.
    (func $end-with-trailers (param $record i32) (result i32)
      (call $begin (local.get $record) (i32.const 200) (call $text-fields))
      (call $bytes.drop-writable (i32.load offset=4 (local.get $record)))
      (call $end-with (local.get $record) (i32.const 1024)))

    (func $trailers-result-2 (param $request i32) (param $record i32) (result i32)
      (i32.store8 (i32.const 1024) (i32.const 2))
      (call $end-with-trailers (local.get $record)))

    (func $trailers-result-255 (param $request i32) (param $record i32) (result i32)
      (i32.store8 (i32.const 1024) (i32.const 255))
      (call $end-with-trailers (local.get $record)))

    (func $trailers-option-2 (param $request i32) (param $record i32) (result i32)
      (i32.store8 (i32.const 1032) (i32.const 2))
      (call $end-with-trailers (local.get $record)))

    (func $trailers-error-39 (param $request i32) (param $record i32) (result i32)
      (i32.store8 (i32.const 1024) (i32.const 1))
      (i32.store8 (i32.const 1032) (i32.const 39))
      (call $end-with-trailers (local.get $record)))

    ;; error(internal-error(...))
    (func $trailers-with-an-error
        (param $record i32) (param $option i32) (param $text i32) (param $len i32) (result i32)
      (i32.store8 (i32.const 1024) (i32.const 1))
      (i32.store8 (i32.const 1032) (i32.const 38))
      (i32.store8 (i32.const 1040) (local.get $option))
      (i32.store (i32.const 1044) (local.get $text))
      (i32.store (i32.const 1048) (local.get $len))
      (call $end-with-trailers (local.get $record)))

    (func $trailers-error-with-option-2 (param $request i32) (param $record i32) (result i32)
      (call $trailers-with-an-error (local.get $record) (i32.const 2) (i32.const 200) (i32.const 8)))

    (func $trailers-error-with-text-past-the-end (param $request i32) (param $record i32) (result i32)
      (call $trailers-with-an-error (local.get $record) (i32.const 1) (call $end-of-memory) (i32.const 1)))

    (func $trailers-error-with-text-that-is-not-utf-8 (param $request i32) (param $record i32) (result i32)
      (i32.store (i32.const 1056) (i32.const 0xfffefdfc))
      (call $trailers-with-an-error (local.get $record) (i32.const 1) (i32.const 1056) (i32.const 4))))
  ;; include p3_main.wat

  ;; include p3_handler.wat
)
