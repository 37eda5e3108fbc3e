;; Handles that are invalid, of the wrong type, or used up. Every case except fine- must trap.
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
      $zero
      $huge
      $negative
      $never-given
      $of-another-type
      $own-of-another-type
      $drop-zero
      $drop-huge
      $drop-of-another-type
      $drop-twice
      $use-after-drop
      $use-after-it-was-given-away
      $given-away-twice
      $drop-after-it-was-given-away
      $in-a-list
      $in-an-option
      $in-a-result))

    (func $fine (param $request i32) (param $out i32) (result i32)
      (call $fields.drop (call $fields.new))
      (i32.const 0))

    (func $get (param $handle i32) (result i32)
      (call $fields.get (local.get $handle) (i32.const 128) (i32.const 4) (i32.const 0))
      (i32.const 0))

    (func $zero (param $request i32) (param $out i32) (result i32) (call $get (i32.const 0)))
    ;; one more than the maximum index of a table
    (func $huge (param $request i32) (param $out i32) (result i32) (call $get (i32.const 0x10000000)))
    (func $negative (param $request i32) (param $out i32) (result i32) (call $get (i32.const 0xffffffff)))
    (func $never-given (param $request i32) (param $out i32) (result i32) (call $get (i32.const 1000)))
    (func $of-another-type (param $request i32) (param $out i32) (result i32) (call $get (local.get $request)))

    (func $own-of-another-type (param $request i32) (param $out i32) (result i32)
      (drop (call $response.new (local.get $request)))
      (i32.const 0))

    (func $drop-zero (param $request i32) (param $out i32) (result i32)
      (call $fields.drop (i32.const 0))
      (i32.const 0))

    (func $drop-huge (param $request i32) (param $out i32) (result i32)
      (call $fields.drop (i32.const 0xffffffff))
      (i32.const 0))

    (func $drop-of-another-type (param $request i32) (param $out i32) (result i32)
      (call $fields.drop (local.get $request))
      (i32.const 0))

    (func $drop-twice (param $request i32) (param $out i32) (result i32)
      (local $fields i32)
      (local.set $fields (call $fields.new))
      (call $fields.drop (local.get $fields))
      (call $fields.drop (local.get $fields))
      (i32.const 0))

    (func $use-after-drop (param $request i32) (param $out i32) (result i32)
      (local $fields i32)
      (local.set $fields (call $fields.new))
      (call $fields.drop (local.get $fields))
      (call $get (local.get $fields)))

    ;; a constructor takes the fields; its own handle may get their index
    (func $use-after-it-was-given-away (param $request i32) (param $out i32) (result i32)
      (local $fields i32)
      (local.set $fields (call $fields.new))
      (drop (call $response.new (local.get $fields)))
      (call $get (local.get $fields)))

    (func $given-away-twice (param $request i32) (param $out i32) (result i32)
      (local $fields i32)
      (local.set $fields (call $fields.new))
      (drop (call $response.new (local.get $fields)))
      (drop (call $response.new (local.get $fields)))
      (i32.const 0))

    (func $drop-after-it-was-given-away (param $request i32) (param $out i32) (result i32)
      (local $fields i32)
      (local.set $fields (call $fields.new))
      (drop (call $response.new (local.get $fields)))
      (call $fields.drop (local.get $fields))
      (i32.const 0))

    (func $in-a-list (param $request i32) (param $out i32) (result i32)
      (i32.store (i32.const 256) (local.get $request))
      (call $poll (i32.const 256) (i32.const 1) (i32.const 0))
      (i32.const 0))

    ;; trailers with an invalid handle
    (func $in-an-option (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.drop (global.get $stream))
      (call $outgoing.finish (global.get $body) (i32.const 1) (i32.const 1000) (i32.const 0))
      (i32.const 1))

    (func $in-a-result (param $request i32) (param $out i32) (result i32)
      (call $outparam.set (local.get $out) (i32.const 0) (i32.const 1000)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
