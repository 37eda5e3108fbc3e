;; A realloc with invalid results, for the request's path or its headers. It is valid until a case corrupts it. Every case
;; except fine- must trap.
(component
  ;; include io.wat
  ;; include http.wat

  (core module $Memory
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    ;; the fault: 0 none, 1 return `answer`, 2 trap, 3 call the host
    (global $how (export "how") (mut i32) (i32.const 0))
    (global $answer (export "answer") (mut i32) (i32.const 0))
    (table $host (export "host") 1 funcref)
    (type $call (func (result i32)))

    (func (export "realloc")
        (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (if (i32.eq (global.get $how) (i32.const 1)) (then (return (global.get $answer))))
      (if (i32.eq (global.get $how) (i32.const 2)) (then unreachable))
      (if (i32.eq (global.get $how) (i32.const 3))
        (then (drop (call_indirect $host (type $call) (i32.const 0)))))
      (local.set $at
        (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                 (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  ;; include path.wat
  ;; include respond.wat
  ;; include host.wat

  (core module $Main
    (import "memory" "how" (global $how (mut i32)))
    (import "memory" "answer" (global $answer (mut i32)))
    (import "memory" "host" (table $host 1 funcref))
    ;; include cases.wat
    (elem (table $host) (i32.const 0) func $fields.new)

    (table $cases funcref (elem
      $fine
      $string-behind-the-end
      $string-across-the-end
      $string-at-the-very-top
      $list-behind-the-end
      $list-not-aligned
      $list-of-handles-not-aligned
      $traps
      $calls-the-host))

    (func $spoil (param $at i32)
      (global.set $how (i32.const 1))
      (global.set $answer (local.get $at)))

    (func $path (param $request i32) (result i32)
      (call $request.path (local.get $request) (i32.const 0))
      (global.set $how (i32.const 0))
      (i32.const 0))

    (func $headers (param $request i32) (result i32)
      (call $fields.entries (call $request.headers (local.get $request)) (i32.const 0))
      (global.set $how (i32.const 0))
      (i32.const 0))

    (func $fine (param $request i32) (param $out i32) (result i32)
      (drop (call $path (local.get $request)))
      (call $headers (local.get $request)))

    (func $string-behind-the-end (param $request i32) (param $out i32) (result i32)
      (call $spoil (call $end-of-memory))
      (call $path (local.get $request)))

    (func $string-across-the-end (param $request i32) (param $out i32) (result i32)
      (call $spoil (i32.sub (call $end-of-memory) (i32.const 1)))
      (call $path (local.get $request)))

    (func $string-at-the-very-top (param $request i32) (param $out i32) (result i32)
      (call $spoil (i32.const 0xffffffff))
      (call $path (local.get $request)))

    (func $list-behind-the-end (param $request i32) (param $out i32) (result i32)
      (call $spoil (i32.const 0xfffffff0))
      (call $headers (local.get $request)))

    (func $list-not-aligned (param $request i32) (param $out i32) (result i32)
      (call $spoil (i32.const 1026))
      (call $headers (local.get $request)))

    ;; the address for poll's list of ready indexes
    (func $list-of-handles-not-aligned (param $request i32) (param $out i32) (result i32)
      (local $incoming i32)
      (call $request.consume (local.get $request) (i32.const 0))
      (local.set $incoming (call $handle))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (i32.store (i32.const 256) (call $in.subscribe (call $handle)))
      (call $spoil (i32.const 1025))
      (call $poll (i32.const 256) (i32.const 1) (i32.const 0))
      (global.set $how (i32.const 0))
      (i32.const 0))

    (func $traps (param $request i32) (param $out i32) (result i32)
      (global.set $how (i32.const 2))
      (call $path (local.get $request)))

    ;; no import may be called during the host's call of realloc
    (func $calls-the-host (param $request i32) (param $out i32) (result i32)
      (global.set $how (i32.const 3))
      (call $path (local.get $request))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
