;; Lengths that reach outside the memory, overflow in a multiplication, or exceed any valid value. Every
;; case except fine- must trap.
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
      $fine-empty
      $string-to-the-end-of-all
      $string-of-two-gigabytes
      $string-longer-than-strings-may-be
      $bytes-to-the-end-of-all
      $bytes-one-too-many
      $bytes-in-a-stream
      $list-to-the-end-of-all
      $list-one-too-many
      $list-that-overflows
      $list-that-overflows-to-nothing
      $lists-that-overflow
      $nested-string
      $nested-bytes
      $handles-that-overflow
      $string-in-a-variant))

    (func $fine (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (drop (call $handle))
      (i32.const 0))

    (func $fine-empty (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 0) (i32.const 0) (i32.const 0))
      (drop (call $handle))
      (i32.const 0))

    (func $string-to-the-end-of-all (param $request i32) (param $out i32) (result i32)
      (call $fields.get (call $fields.new) (i32.const 128) (i32.const 0xffffffff) (i32.const 0))
      (i32.const 0))

    (func $string-of-two-gigabytes (param $request i32) (param $out i32) (result i32)
      (call $fields.get (call $fields.new) (i32.const 128) (i32.const 0x80000000) (i32.const 0))
      (i32.const 0))

    ;; one more than 2**28 - 1
    (func $string-longer-than-strings-may-be (param $request i32) (param $out i32) (result i32)
      (call $fields.get (call $fields.new) (i32.const 128) (i32.const 0x10000000) (i32.const 0))
      (i32.const 0))

    (func $bytes-to-the-end-of-all (param $request i32) (param $out i32) (result i32)
      (call $fields.append (call $fields.new) (i32.const 128) (i32.const 4)
        (i32.const 136) (i32.const 0xffffffff) (i32.const 0))
      (i32.const 0))

    (func $bytes-one-too-many (param $request i32) (param $out i32) (result i32)
      (call $fields.append (call $fields.new) (i32.const 128) (i32.const 4)
        (i32.const 136) (i32.sub (call $end-of-memory) (i32.const 135)) (i32.const 0))
      (i32.const 0))

    (func $bytes-in-a-stream (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.write-and-flush (global.get $stream) (i32.const 128) (i32.const 0xffffff00) (i32.const 0))
      (call $end)
      (i32.const 1))

    (func $list-to-the-end-of-all (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 144) (i32.const 0xffffffff) (i32.const 0))
      (i32.const 0))

    ;; 16 bytes each: the last one begins inside the memory and ends outside
    (func $list-one-too-many (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 8)
        (i32.shr_u (call $end-of-memory) (i32.const 4)) (i32.const 0))
      (i32.const 0))

    ;; 16 bytes each, so that the product is 2**32 + 16: 16 in 32 bits
    (func $list-that-overflows (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 144) (i32.const 0x10000001) (i32.const 0))
      (i32.const 0))

    (func $list-that-overflows-to-nothing (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 144) (i32.const 0x10000000) (i32.const 0))
      (i32.const 0))

    ;; eight bytes each
    (func $lists-that-overflow (param $request i32) (param $out i32) (result i32)
      (call $fields.set (call $fields.new) (i32.const 128) (i32.const 4)
        (i32.const 160) (i32.const 0x20000001) (i32.const 0))
      (i32.const 0))

    (func $nested-string (param $request i32) (param $out i32) (result i32)
      (i32.store (i32.const 148) (i32.const 0xffffffff))
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $nested-bytes (param $request i32) (param $out i32) (result i32)
      (i32.store (i32.const 156) (i32.const 0x7fffffff))
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (i32.const 0))

    ;; four bytes each
    (func $handles-that-overflow (param $request i32) (param $out i32) (result i32)
      (call $poll (i32.const 128) (i32.const 0x40000001) (i32.const 0))
      (i32.const 0))

    ;; err(internal-error(some(string)))
    (func $string-in-a-variant (param $request i32) (param $out i32) (result i32)
      (call $outparam.set (local.get $out) (i32.const 1) (i32.const 38)
        (i32.const 1) (i64.const 128) (i32.const 0xffffffff) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 1)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
