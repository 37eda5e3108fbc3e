;; Makes the host hold more and more, of one kind in each case, until the host stops it.
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
      $fields
      $values
      $contents
      $handles
      $memory
      $tables))
    (table $large 0 funcref)

    (func $fine (param $request i32) (param $out i32) (result i32) (i32.const 0))

    ;; sets of fields with a value of 60,000 spaces each, because no value may contain zeros
    (func $fields (param $request i32) (param $out i32) (result i32)
      (drop (memory.grow (i32.const 1)))
      (memory.fill (i32.const 0x20000) (i32.const 32) (i32.const 60000))
      (loop $more
        (call $fields.append (call $fields.new) (i32.const 128) (i32.const 4)
          (i32.const 0x20000) (i32.const 60000) (i32.const 0))
        (if (call $failed) (then unreachable))
        (br $more))
      unreachable)

    ;; sets of fields with twenty values of 100 spaces each
    (func $values (param $request i32) (param $out i32) (result i32)
      (local $fields i32) (local $count i32)
      (memory.fill (i32.const 512) (i32.const 32) (i32.const 100))
      (loop $more
        (local.set $fields (call $fields.new))
        (local.set $count (i32.const 20))
        (loop $again
          (call $fields.append (local.get $fields) (i32.const 128) (i32.const 4)
            (i32.const 512) (i32.const 100) (i32.const 0))
          (if (call $failed) (then unreachable))
          (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
        (br $more))
      unreachable)

    ;; unused responses with 64,000 bytes of contents each
    (func $contents (param $request i32) (param $out i32) (result i32)
      (drop (memory.grow (i32.const 1)))
      (loop $more
        (call $response.body (call $response.new (call $fields.new)) (i32.const 0))
        (call $outgoing.write (call $handle) (i32.const 0))
        (call $out.check (call $handle) (i32.const 16))
        (call $out.write (call $handle) (i32.const 0x10000) (i32.const 64000) (i32.const 16))
        (br $more))
      unreachable)

    (func $handles (param $request i32) (param $out i32) (result i32)
      (loop $more (drop (call $fields.new)) (br $more))
      unreachable)

    ;; continues as if each call had succeeded
    (func $memory (param $request i32) (param $out i32) (result i32)
      (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
      unreachable)

    (func $tables (param $request i32) (param $out i32) (result i32)
      (loop $more (drop (table.grow $large (ref.null func) (i32.const 1000))) (br $more))
      unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
