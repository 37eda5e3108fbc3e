;; Sends its request on to the server in the authority, and passes that server's answer back. Both bodies bypass it. It
;; traps at a failure.
(component
  ;; include p3_http.wat

  (core module $Memory
    (memory (export "memory") 8)
    ;; only an error with text needs room, and the guest cannot handle one
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  ;; include p3_client.wat
  (core func $task.return
    (canon task.return (result (result (own $response) (error $error-code))) (memory $mem)))
  (core func $set.new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $subtask.drop (canon subtask.drop))

  (core module $Main
    (import "memory" "memory" (memory 8))
    (import "host" "send" (func $send (param i32 i32) (result i32)))
    (import "host" "task.return" (func $task.return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "set.new" (func $set.new (result i32)))
    (import "host" "join" (func $join (param i32 i32)))
    (import "host" "subtask.drop" (func $subtask.drop (param i32)))

    ;; Each request in progress has a slot of 64 bytes: the call's result, a result<response, error-code> of 40 bytes, and
    ;; its waitable set at 48. A stack of addresses, which ends here, has the free slots.
    (global $free (mut i32) (i32.const 1024))
    ;; the address of the next new slot
    (global $next (mut i32) (i32.const 0x20000))

    (func $take (result i32)
      (local $slot i32)
      (if (i32.eq (global.get $free) (i32.const 1024))
        (then
          (local.set $slot (global.get $next))
          (global.set $next (i32.add (local.get $slot) (i32.const 64)))
          (i32.store offset=48 (local.get $slot) (call $set.new))
          (return (local.get $slot))))
      (global.set $free (i32.sub (global.get $free) (i32.const 4)))
      (i32.load (global.get $free)))

    (func $answer (param $slot i32)
      (if (i32.load8_u (local.get $slot)) (then unreachable))
      ;; ok(response); the zeros fill the place of the largest error-code
      (call $task.return (i32.const 0) (i32.load offset=8 (local.get $slot))
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (i32.store (global.get $free) (local.get $slot))
      (global.set $free (i32.add (global.get $free) (i32.const 4))))

    ;; The slot of a call by its handle, from 4096 up.
    (func $word (param $handle i32) (result i32)
      (i32.add (i32.const 4096) (i32.shl (local.get $handle) (i32.const 2))))

    (func (export "handle") (param $request i32) (result i32)
      (local $slot i32) (local $status i32) (local $call i32)
      (local.set $slot (call $take))
      (local.set $status (call $send (local.get $request) (local.get $slot)))
      ;; returned without waiting
      (if (i32.eq (local.get $status) (i32.const 2))
        (then (call $answer (local.get $slot)) (return (i32.const 0))))
      (local.set $call (i32.shr_u (local.get $status) (i32.const 4)))
      (i32.store (call $word (local.get $call)) (local.get $slot))
      (call $join (local.get $call) (i32.load offset=48 (local.get $slot)))
      ;; wait with this set
      (i32.or (i32.shl (i32.load offset=48 (local.get $slot)) (i32.const 4)) (i32.const 2)))

    (func (export "callback") (param $event i32) (param $handle i32) (param $status i32) (result i32)
      (local $slot i32)
      (local.set $slot (i32.load (call $word (local.get $handle))))
      (if (i32.ne (local.get $status) (i32.const 2))
        (then (return (i32.or (i32.shl (i32.load offset=48 (local.get $slot)) (i32.const 4)) (i32.const 2)))))
      (call $subtask.drop (local.get $handle))
      (call $answer (local.get $slot))
      (i32.const 0)))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "send" (func $client.send))
      (export "task.return" (func $task.return))
      (export "set.new" (func $set.new))
      (export "join" (func $join))
      (export "subtask.drop" (func $subtask.drop))))))

  ;; include p3_handler.wat
)
