;; Core modules by themselves.

(module $a
  (global (export "answer") i32 (i32.const -42))
  (func (export "swap") (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func (export "nan") (result f32) (f32.const nan))
  (func (export "fail") unreachable)
  (func $deep (export "deep") (call $deep)))
(assert_return (get "answer") (i32.const -42))
(assert_return (invoke "swap" (i32.const 0xffff_ffff) (i64.const 2)) (i64.const 2) (i32.const -1))
(assert_return (invoke $a "nan") (f32.const nan:arithmetic))
(assert_trap (invoke "fail") "unreachable")
(assert_exhaustion (invoke "deep") "call stack exhausted")

(register "lib" $a)
(module definition $user
  (import "lib" "answer" (global $answer i32))
  (func (export "get") (result i32) (global.get $answer)))
(module instance $u $user)
(assert_return (invoke $u "get") (i32.const -42))
(assert_return (get $a "answer") (i32.const -42))
