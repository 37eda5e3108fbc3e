;; Streams the request's body back as it arrives, 64 KiB at a time, with its content-type and content-length. Each
;; piece takes one blocking-read, one check-write, one write. The guest waits for room only if check-write grants none.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat

  (core func $fields.new (canon lower (func $http "[constructor]fields")))
  (core func $fields.get (canon lower (func $http "[method]fields.get") (memory $mem) (realloc $realloc)))
  (core func $fields.set (canon lower (func $http "[method]fields.set") (memory $mem)))
  (core func $fields.drop (canon resource.drop $fields))
  (core func $request.headers (canon lower (func $http "[method]incoming-request.headers")))
  (core func $request.consume (canon lower (func $http "[method]incoming-request.consume") (memory $mem)))
  (core func $request.drop (canon resource.drop $incoming-request))
  (core func $incoming.stream (canon lower (func $http "[method]incoming-body.stream") (memory $mem)))
  (core func $incoming.drop (canon resource.drop $incoming-body))
  (core func $response.new (canon lower (func $http "[constructor]outgoing-response")))
  (core func $response.body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $outparam.set (canon lower (func $http "[static]response-outparam.set") (memory $mem)))
  (core func $outgoing.write (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $outgoing.finish
    (canon lower (func $http "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))
  (core func $outgoing.drop (canon resource.drop $outgoing-body))
  (core func $in.read
    (canon lower (func $streams "[method]input-stream.blocking-read") (memory $mem) (realloc $realloc)))
  (core func $in.drop (canon resource.drop $input-stream))
  (core func $out.check (canon lower (func $streams "[method]output-stream.check-write") (memory $mem)))
  (core func $out.write (canon lower (func $streams "[method]output-stream.write") (memory $mem)))
  (core func $out.subscribe (canon lower (func $streams "[method]output-stream.subscribe")))
  (core func $out.drop (canon resource.drop $output-stream))
  (core func $pollable.block (canon lower (func $poll "[method]pollable.block")))
  (core func $pollable.drop (canon resource.drop $pollable))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "fields.get" (func $fields.get (param i32 i32 i32 i32)))
    (import "host" "fields.set" (func $fields.set (param i32 i32 i32 i32 i32 i32)))
    (import "host" "fields.drop" (func $fields.drop (param i32)))
    (import "host" "request.headers" (func $request.headers (param i32) (result i32)))
    (import "host" "request.consume" (func $request.consume (param i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "incoming.stream" (func $incoming.stream (param i32 i32)))
    (import "host" "incoming.drop" (func $incoming.drop (param i32)))
    (import "host" "response.new" (func $response.new (param i32) (result i32)))
    (import "host" "response.body" (func $response.body (param i32 i32)))
    (import "host" "outparam.set" (func $outparam.set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "outgoing.write" (func $outgoing.write (param i32 i32)))
    (import "host" "outgoing.finish" (func $outgoing.finish (param i32 i32 i32 i32)))
    (import "host" "outgoing.drop" (func $outgoing.drop (param i32)))
    (import "host" "in.read" (func $in.read (param i32 i64 i32)))
    (import "host" "in.drop" (func $in.drop (param i32)))
    (import "host" "out.check" (func $out.check (param i32 i32)))
    (import "host" "out.write" (func $out.write (param i32 i32 i32 i32)))
    (import "host" "out.subscribe" (func $out.subscribe (param i32) (result i32)))
    (import "host" "out.drop" (func $out.drop (param i32)))
    (import "host" "pollable.block" (func $pollable.block (param i32)))
    (import "host" "pollable.drop" (func $pollable.drop (param i32)))

    (data (i32.const 64) "content-type")
    (data (i32.const 80) "content-length")

    ;; The host writes results at 0: the discriminant is that byte, and the payload follows at 4 or 8.
    (func $failed (result i32) (i32.load8_u (i32.const 0)))

    ;; Copy the request's values of a header to the response.
    (func $keep (param $from i32) (param $to i32) (param $name i32) (param $len i32)
      (call $fields.get (local.get $from) (local.get $name) (local.get $len) (i32.const 0))
      (if (i32.load (i32.const 4))
        ;; a list<list<u8>> from the host: its pointer at 0, its length at 4
        (then (call $fields.set (local.get $to) (local.get $name) (local.get $len)
          (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.const 0)))))

    ;; Write all of it, waiting for room if necessary. The result is 0 if the client is gone.
    (func $write (param $out i32) (param $at i32) (param $len i32) (result i32)
      (local $room i64) (local $part i32) (local $pollable i32)
      (loop $more
        (call $out.check (local.get $out) (i32.const 0))
        (if (call $failed) (then (return (i32.const 0))))
        (local.set $room (i64.load (i32.const 8)))
        (if (i64.eqz (local.get $room))
          (then
            (local.set $pollable (call $out.subscribe (local.get $out)))
            (call $pollable.block (local.get $pollable))
            (call $pollable.drop (local.get $pollable))
            (br $more)))
        (local.set $part (local.get $len))
        (if (i64.lt_u (local.get $room) (i64.extend_i32_u (local.get $part)))
          (then (local.set $part (i32.wrap_i64 (local.get $room)))))
        (call $out.write (local.get $out) (local.get $at) (local.get $part) (i32.const 0))
        (if (call $failed) (then (return (i32.const 0))))
        (local.set $at (i32.add (local.get $at) (local.get $part)))
        (br_if $more (local.tee $len (i32.sub (local.get $len) (local.get $part)))))
      (i32.const 1))

    (func (export "handle") (param $request i32) (param $outparam i32)
      (local $from i32) (local $to i32) (local $response i32) (local $ended i32)
      (local $incoming i32) (local $in i32) (local $outgoing i32) (local $out i32)
      (global.set $heap (i32.const 65536))

      (local.set $from (call $request.headers (local.get $request)))
      (local.set $to (call $fields.new))
      (call $keep (local.get $from) (local.get $to) (i32.const 64) (i32.const 12))
      (call $keep (local.get $from) (local.get $to) (i32.const 80) (i32.const 14))
      (call $fields.drop (local.get $from))

      (call $request.consume (local.get $request) (i32.const 0))
      (local.set $incoming (i32.load (i32.const 4)))
      (call $incoming.stream (local.get $incoming) (i32.const 0))
      (local.set $in (i32.load (i32.const 4)))

      (local.set $response (call $response.new (local.get $to)))
      (call $response.body (local.get $response) (i32.const 0))
      (local.set $outgoing (i32.load (i32.const 4)))
      (call $outparam.set (local.get $outparam) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $outgoing.write (local.get $outgoing) (i32.const 0))
      (local.set $out (i32.load (i32.const 4)))

      (block $stop
        (loop $next
          ;; each piece overwrites the one before it
          (global.set $heap (i32.const 65536))
          (call $in.read (local.get $in) (i64.const 65536) (i32.const 0))
          (if (call $failed)
            (then
              ;; closed (1) is the end of the body, anything else a failure
              (local.set $ended (i32.eq (i32.load8_u (i32.const 4)) (i32.const 1)))
              (br $stop)))
          (br_if $next (i32.eqz (i32.load (i32.const 8))))
          (br_if $next (call $write (local.get $out) (i32.load (i32.const 4)) (i32.load (i32.const 8))))))

      (call $in.drop (local.get $in))
      (call $incoming.drop (local.get $incoming))
      (call $request.drop (local.get $request))
      (call $out.drop (local.get $out))
      ;; dropping an unfinished body tells the client that it is cut
      (if (local.get $ended)
        (then (call $outgoing.finish (local.get $outgoing) (i32.const 0) (i32.const 0) (i32.const 0)))
        (else (call $outgoing.drop (local.get $outgoing))))))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "fields.new" (func $fields.new))
      (export "fields.get" (func $fields.get))
      (export "fields.set" (func $fields.set))
      (export "fields.drop" (func $fields.drop))
      (export "request.headers" (func $request.headers))
      (export "request.consume" (func $request.consume))
      (export "request.drop" (func $request.drop))
      (export "incoming.stream" (func $incoming.stream))
      (export "incoming.drop" (func $incoming.drop))
      (export "response.new" (func $response.new))
      (export "response.body" (func $response.body))
      (export "outparam.set" (func $outparam.set))
      (export "outgoing.write" (func $outgoing.write))
      (export "outgoing.finish" (func $outgoing.finish))
      (export "outgoing.drop" (func $outgoing.drop))
      (export "in.read" (func $in.read))
      (export "in.drop" (func $in.drop))
      (export "out.check" (func $out.check))
      (export "out.write" (func $out.write))
      (export "out.subscribe" (func $out.subscribe))
      (export "out.drop" (func $out.drop))
      (export "pollable.block" (func $pollable.block))
      (export "pollable.drop" (func $pollable.drop))))))

  ;; include handler.wat
)
