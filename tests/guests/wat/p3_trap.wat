;; Traps: /0 before its answer, /1 after it, /2 in its callback before the answer, /3 in its callback after the answer and
;; a line of an unfinished body.
(component
  ;; include p3_http.wat
  ;; include p3_memory.wat
  ;; include p3_host.wat
  ;; include p3_path.wat
  ;; include p3_reply.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "path" "number" (func $number (param i32 i32) (result i32)))
    (import "reply" "new" (func $new (result i32)))
    (import "reply" "wait" (func $wait (param i32) (result i32)))
    (import "reply" "text-fields" (func $text-fields (result i32)))
    (import "reply" "begin" (func $begin (param i32 i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "bytes.write" (func $write (param i32 i32 i32) (result i32)))
    (import "host" "join" (func $join (param i32 i32)))

    (data (i32.const 96) "begun\n")

    (func (export "handle") (param $request i32) (result i32)
      (local $case i32) (local $record i32)
      (local.set $case (call $number (local.get $request) (i32.const 0)))
      (call $request.drop (local.get $request))
      (if (i32.eqz (local.get $case)) (then unreachable))
      ;; yield: the host calls back at once
      (if (i32.eq (local.get $case) (i32.const 2)) (then (return (i32.const 1))))
      (local.set $record (call $new))
      (call $begin (local.get $record) (i32.const 200) (call $text-fields))
      (if (i32.eq (local.get $case) (i32.const 1)) (then unreachable))
      (if (i32.ne (call $write (i32.load offset=4 (local.get $record)) (i32.const 96) (i32.const 6)) (i32.const -1))
        (then unreachable))
      (call $join (i32.load offset=4 (local.get $record)) (i32.load (local.get $record)))
      (call $wait (local.get $record)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $how i32) (result i32) unreachable))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "reply" (instance $reply))
    (with "host" (instance $host))))

  ;; include p3_handler.wat
)
