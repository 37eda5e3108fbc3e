;; Pointers outside the memory or not aligned, in each kind of place that a pointer has in a call. Every case except
;; fine- must trap.
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
      $fine-bytes-up-to-the-end
      $fine-nothing-at-the-end
      $string
      $string-across-the-end
      $list-behind-a-good-string
      $bytes
      $bytes-in-a-stream
      $list
      $list-across-the-end
      $list-not-aligned
      $nested-string
      $nested-bytes
      $nested-list-not-aligned
      $handles
      $handles-not-aligned
      $string-in-a-variant
      $result
      $result-across-the-end
      $result-not-aligned
      $result-of-eight-bytes-not-aligned
      $result-at-the-end))

    (func $fine (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (drop (call $handle))
      (i32.const 0))

    ;; the last four bytes of the memory, filled with a valid value of a header
    (func $last-four (result i32)
      (local $at i32)
      (local.set $at (i32.sub (call $end-of-memory) (i32.const 4)))
      (i32.store (local.get $at) (i32.const 0x61616161))
      (local.get $at))

    (func $fine-bytes-up-to-the-end (param $request i32) (param $out i32) (result i32)
      (call $fields.append (call $fields.new) (i32.const 128) (i32.const 4)
        (call $last-four) (i32.const 4) (i32.const 0))
      (i32.const 0))

    (func $fine-nothing-at-the-end (param $request i32) (param $out i32) (result i32)
      (call $fields.append (call $fields.new) (i32.const 128) (i32.const 4)
        (call $end-of-memory) (i32.const 0) (i32.const 0))
      (i32.const 0))

    (func $string (param $request i32) (param $out i32) (result i32)
      (call $fields.get (call $fields.new) (i32.const 0xfffffff0) (i32.const 4) (i32.const 0))
      (i32.const 0))

    (func $string-across-the-end (param $request i32) (param $out i32) (result i32)
      (call $fields.get (call $fields.new)
        (i32.sub (call $end-of-memory) (i32.const 3)) (i32.const 4) (i32.const 0))
      (i32.const 0))

    ;; the first string is valid, the list after it is not
    (func $list-behind-a-good-string (param $request i32) (param $out i32) (result i32)
      (call $fields.set (call $fields.new) (i32.const 128) (i32.const 4)
        (i32.const 0x7ffffff8) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $bytes (param $request i32) (param $out i32) (result i32)
      (call $fields.append (call $fields.new) (i32.const 128) (i32.const 4)
        (i32.const 0x80000000) (i32.const 5) (i32.const 0))
      (i32.const 0))

    (func $bytes-in-a-stream (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.write-and-flush (global.get $stream) (call $end-of-memory) (i32.const 1) (i32.const 0))
      (call $end)
      (i32.const 1))

    (func $list (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 0xfffffff0) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $list-across-the-end (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.sub (call $end-of-memory) (i32.const 8)) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $list-not-aligned (param $request i32) (param $out i32) (result i32)
      (call $fields.from-list (i32.const 146) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $nested-string (param $request i32) (param $out i32) (result i32)
      (i32.store (i32.const 144) (i32.const 0xffffff00))
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $nested-bytes (param $request i32) (param $out i32) (result i32)
      (i32.store (i32.const 152) (call $end-of-memory))
      (call $fields.from-list (i32.const 144) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $nested-list-not-aligned (param $request i32) (param $out i32) (result i32)
      (call $fields.set (call $fields.new) (i32.const 128) (i32.const 4)
        (i32.const 161) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $handles (param $request i32) (param $out i32) (result i32)
      (call $poll (i32.const 0x40000000) (i32.const 1) (i32.const 0))
      (i32.const 0))

    (func $handles-not-aligned (param $request i32) (param $out i32) (result i32)
      (call $poll (i32.const 1) (i32.const 1) (i32.const 0))
      (i32.const 0))

    ;; err(internal-error(some(string))): 1, then the 38 of the case, then its payload among joined parameters
    (func $string-in-a-variant (param $request i32) (param $out i32) (result i32)
      (call $outparam.set (local.get $out) (i32.const 1) (i32.const 38)
        (i32.const 1) (i64.const 0xfffffff0) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.const 1))

    ;; an address for a result
    (func $result (param $request i32) (param $out i32) (result i32)
      (call $request.path (local.get $request) (i32.const 0xfffffff0))
      (i32.const 0))

    (func $result-across-the-end (param $request i32) (param $out i32) (result i32)
      (call $request.path (local.get $request) (i32.sub (call $end-of-memory) (i32.const 8)))
      (i32.const 0))

    (func $result-not-aligned (param $request i32) (param $out i32) (result i32)
      (call $request.path (local.get $request) (i32.const 2))
      (i32.const 0))

    ;; a result<u64, ...> is aligned to 8
    (func $result-of-eight-bytes-not-aligned (param $request i32) (param $out i32) (result i32)
      (call $begin (local.get $out) (i32.const 200))
      (call $out.check (global.get $stream) (i32.const 4))
      (call $end)
      (i32.const 1))

    (func $result-at-the-end (param $request i32) (param $out i32) (result i32)
      (call $request.headers (local.get $request))
      (call $fields.entries (call $end-of-memory))
      (i32.const 0)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
