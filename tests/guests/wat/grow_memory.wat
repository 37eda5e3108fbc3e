;; Grows its memory, a MiB at a time, until the host refuses, and answers with the MiB. At the path /1 it traps at the
;; refusal. At /2 it does the same with a table, and answers with the thousands of elements.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include decimal.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (table $table 0 funcref)

    (func (export "handle") (param $request i32) (param $out i32)
      (local $what i32) (local $times i32) (local $at i32) (local $len i32)
      (local.set $what (call $number (local.get $request)))
      (block $refused
        (loop $more
          (if (i32.eq (local.get $what) (i32.const 2))
            (then
              (br_if $refused
                (i32.eq (i32.const -1) (table.grow $table (ref.null func) (i32.const 1000)))))
            (else
              (br_if $refused
                (i32.eq (i32.const -1) (memory.grow (i32.const 16))))))
          (local.set $times (i32.add (local.get $times) (i32.const 1)))
          (br $more)))
      (if (i32.eq (local.get $what) (i32.const 1)) (then unreachable))
      (call $decimal (local.get $times))
      (local.set $len)
      (local.set $at)
      (call $respond (local.get $out) (i32.const 200) (local.get $at) (local.get $len))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "decimal" (instance $decimal))))

  ;; include handler.wat
)
