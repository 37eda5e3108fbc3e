;; Streams the request's body back past the guest's memory: one blocking-splice for each piece.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat
  ;; include host.wat

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "respond" "begin" (func $begin (param i32 i32)))
    (import "respond" "end" (func $end))
    (import "respond" "body" (global $outgoing (mut i32)))
    (import "respond" "stream" (global $out (mut i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "incoming.stream" (func $incoming.stream (param i32 i32)))
    (import "host" "incoming.drop" (func $incoming.drop (param i32)))
    (import "host" "in.drop" (func $in.drop (param i32)))
    (import "host" "out.splice" (func $out.splice (param i32 i32 i64 i32)))
    (import "host" "out.drop" (func $out.drop (param i32)))
    (import "host" "outgoing.drop" (func $outgoing.drop (param i32)))

    (func (export "handle") (param $request i32) (param $outparam i32)
      (local $incoming i32) (local $in i32)
      (global.set $heap (i32.const 65536))
      (call $request.consume (local.get $request) (i32.const 0))
      (local.set $incoming (i32.load (i32.const 4)))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (local.set $in (i32.load (i32.const 4)))
      (call $begin (local.get $outparam) (i32.const 200))

      (loop $next
        ;; a result<u64, stream-error>: its discriminant at 0, the error at 8
        (call $out.splice (global.get $out) (local.get $in) (i64.const 1048576) (i32.const 0))
        (br_if $next (i32.eqz (i32.load8_u (i32.const 0)))))

      (call $in.drop (local.get $in))
      (call $incoming.drop (local.get $incoming))
      (call $request.drop (local.get $request))
      ;; closed (1) is the end of the body; after any other error the client must see a cut body
      (if (i32.eq (i32.load8_u (i32.const 8)) (i32.const 1))
        (then (call $end))
        (else
          (call $out.drop (global.get $out))
          (call $outgoing.drop (global.get $outgoing))))))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))
    (with "host" (instance $host))))

  ;; include handler.wat
)
