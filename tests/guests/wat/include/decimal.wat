  ;; A number in decimal digits, with a newline after it. The text is below 1056. Its core instance is $decimal.
  (core module $Decimal
    (import "memory" "memory" (memory 1))

    (func (export "decimal") (param $number i32) (result i32 i32)
      (local $at i32)
      (local.set $at (i32.const 1055))
      (i32.store8 (local.get $at) (i32.const 0x0a))
      ;; the last digit first
      (loop $digits
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.store8 (local.get $at) (i32.add (i32.const 0x30) (i32.rem_u (local.get $number) (i32.const 10))))
        (br_if $digits (local.tee $number (i32.div_u (local.get $number) (i32.const 10)))))
      (local.get $at)
      (i32.sub (i32.const 1056) (local.get $at))))
  (core instance $decimal (instantiate $Decimal (with "memory" (instance $memory))))
