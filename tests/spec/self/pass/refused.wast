;; Components that must not be accepted, found out by the assembler, the validator, the decoder and the compiler.

(assert_malformed (component quote "(core module") "expected `)`")
(assert_malformed (component binary "\00asm" "\0d\00\01") "")
(assert_invalid (component (import "Not-Kebab" (func))) "is not in kebab case")
(assert_malformed
  (component binary
    "\00asm" "\0d\00\01\00"
    "\00\03" "\05ab") ;; a name longer than its section
  "unexpected end-of-file")
(assert_invalid (component (core module (func i32.add))) "type mismatch")
(assert_invalid (module (func (result i32))) "type mismatch")
(assert_unlinkable (component (import "f" (func))) "nothing provides")
(assert_unlinkable (module (import "a" "f" (func))) "unknown import")
