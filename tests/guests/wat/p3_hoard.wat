;; Makes the host hold more and more, of one kind in each case, until the host stops it.
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
      $calls
      $streams
      $sets
      $keep-calls))

    (func $fine (param $request i32) (param $record i32) (result i32) (i32.const -1))

    ;; calls that take an hour
    (func $calls (param $request i32) (param $record i32) (result i32)
      (loop $more (drop (call $hour)) (br $more))
      unreachable)

    (func $streams (param $request i32) (param $record i32) (result i32)
      (loop $more (call $new-bytes) (br $more))
      unreachable)

    (func $sets (param $request i32) (param $record i32) (result i32)
      (loop $more (drop (call $set.new)) (br $more))
      unreachable)

    ;; five thousand such calls, and a trap
    (func $keep-calls (param $request i32) (param $record i32) (result i32)
      (local $count i32)
      (loop $more
        (drop (call $hour))
        (br_if $more (i32.lt_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const 5000))))
      unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))
    (with "clock" (instance (export "wait-for" (func $clock.wait-for))))))

  ;; include p3_handler.wat
)
