;; Values in memory that are invalid for their type: text that is not UTF-8, cases that a variant does not have.
;; Every case except fine- must trap.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include host.wat

  (core module $Main
    ;; include cases.wat

    (table $cases funcref (elem
      $fine
      $fine-text-of-four-bytes
      $text-with-a-wrong-byte
      $text-cut-short
      $text-overlong
      $text-with-a-surrogate
      $text-past-unicode
      $text-in-a-list
      $result-of-no-case
      $variant-of-no-case
      $variant-of-a-huge-case
      $option-of-no-case
      $option-inside-of-no-case))

    (data (i32.const 256) "\f0\9f\92\a1")
    (data (i32.const 264) "a\ffb")
    (data (i32.const 272) "\e2\82")
    (data (i32.const 280) "\c0\af")
    (data (i32.const 288) "\ed\a0\80")
    (data (i32.const 296) "\f4\90\80\80")

    ;; a string parameter, the name of a header to look for
    (func $get (param $at i32) (param $len i32) (result i32)
      (call $fields.get (call $fields.new) (local.get $at) (local.get $len) (i32.const 0))
      (i32.const 0))

    (func $fine (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 128) (i32.const 4)))
    (func $fine-text-of-four-bytes (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 256) (i32.const 4)))
    (func $text-with-a-wrong-byte (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 264) (i32.const 3)))
    (func $text-cut-short (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 272) (i32.const 2)))
    (func $text-overlong (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 280) (i32.const 2)))
    (func $text-with-a-surrogate (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 288) (i32.const 3)))
    (func $text-past-unicode (param $request i32) (param $out i32) (result i32)
      (call $get (i32.const 296) (i32.const 4)))

    (func $text-in-a-list (param $request i32) (param $out i32) (result i32)
      (i32.store (i32.const 144) (i32.const 264))
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (i32.const 0))

    ;; a response-outparam.set with these three: ok or err, the error, its payload
    (func $set (param $out i32) (param $result i32) (param $error i32) (param $option i32) (result i32)
      (call $outparam.set (local.get $out) (local.get $result) (local.get $error)
        (local.get $option) (i64.const 128) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 1))

    (func $result-of-no-case (param $request i32) (param $out i32) (result i32)
      (call $set (local.get $out) (i32.const 2) (i32.const 0) (i32.const 0)))
    ;; error-code has 39
    (func $variant-of-no-case (param $request i32) (param $out i32) (result i32)
      (call $set (local.get $out) (i32.const 1) (i32.const 39) (i32.const 0)))
    (func $variant-of-a-huge-case (param $request i32) (param $out i32) (result i32)
      (call $set (local.get $out) (i32.const 1) (i32.const 0xffffff00) (i32.const 0)))
    ;; 38 is internal-error(option<string>)
    (func $option-inside-of-no-case (param $request i32) (param $out i32) (result i32)
      (call $set (local.get $out) (i32.const 1) (i32.const 38) (i32.const 2)))

    (func $option-of-no-case (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.drop (global.get $stream))
      (call $outgoing.finish (global.get $body) (i32.const 7) (i32.const 0) (i32.const 0))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
