;; Sends a GET over plain HTTP for the request's path to the server in the request's authority. It answers "fine" after
;; any answer of that server.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include respond.wat
  (alias export $http "outgoing-request" (type $outgoing-request))
  (alias export $http "request-options" (type $request-options))
  (alias export $http "incoming-response" (type $incoming-response))
  (alias export $http "future-incoming-response" (type $future-response))
  (alias export $http "error-code" (type $error-code))
  (import "wasi:http/outgoing-handler@0.2.0" (instance $outgoing
    (alias outer 1 $outgoing-request (type $outgoing-request'))
    (export "outgoing-request" (type $outgoing-request (eq $outgoing-request')))
    (alias outer 1 $request-options (type $request-options'))
    (export "request-options" (type $request-options (eq $request-options')))
    (alias outer 1 $future-response (type $future-response'))
    (export "future-incoming-response" (type $future-response (eq $future-response')))
    (alias outer 1 $error-code (type $error-code'))
    (export "error-code" (type $error-code (eq $error-code')))
    (export "handle" (func
      (param "request" (own $outgoing-request)) (param "options" (option (own $request-options)))
      (result (result (own $future-response) (error $error-code)))))))

  (core func $request.authority
    (canon lower (func $http "[method]incoming-request.authority") (memory $mem) (realloc $realloc)))
  (core func $request.path
    (canon lower (func $http "[method]incoming-request.path-with-query") (memory $mem) (realloc $realloc)))
  (core func $request.drop (canon resource.drop $incoming-request))
  (core func $fields.new (canon lower (func $http "[constructor]fields")))
  (core func $asked.new (canon lower (func $http "[constructor]outgoing-request")))
  (core func $asked.set-scheme
    (canon lower (func $http "[method]outgoing-request.set-scheme") (memory $mem)))
  (core func $asked.set-authority
    (canon lower (func $http "[method]outgoing-request.set-authority") (memory $mem)))
  (core func $asked.set-path
    (canon lower (func $http "[method]outgoing-request.set-path-with-query") (memory $mem)))
  (core func $ask (canon lower (func $outgoing "handle") (memory $mem) (realloc $realloc)))
  (core func $future.subscribe (canon lower (func $http "[method]future-incoming-response.subscribe")))
  (core func $future.get
    (canon lower (func $http "[method]future-incoming-response.get") (memory $mem) (realloc $realloc)))
  (core func $future.drop (canon resource.drop $future-response))
  (core func $answer.drop (canon resource.drop $incoming-response))
  (core func $pollable.block (canon lower (func $poll "[method]pollable.block")))
  (core func $pollable.drop (canon resource.drop $pollable))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "host" "request.authority" (func $request.authority (param i32 i32)))
    (import "host" "request.path" (func $request.path (param i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "asked.new" (func $asked.new (param i32) (result i32)))
    (import "host" "asked.set-scheme" (func $asked.set-scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "asked.set-authority" (func $asked.set-authority (param i32 i32 i32 i32) (result i32)))
    (import "host" "asked.set-path" (func $asked.set-path (param i32 i32 i32 i32) (result i32)))
    (import "host" "ask" (func $ask (param i32 i32 i32 i32)))
    (import "host" "future.subscribe" (func $future.subscribe (param i32) (result i32)))
    (import "host" "future.get" (func $future.get (param i32 i32)))
    (import "host" "future.drop" (func $future.drop (param i32)))
    (import "host" "answer.drop" (func $answer.drop (param i32)))
    (import "host" "pollable.block" (func $pollable.block (param i32)))
    (import "host" "pollable.drop" (func $pollable.drop (param i32)))

    (data (i32.const 256) "fine\n")

    ;; The host writes results at 128.
    (func (export "handle") (param $request i32) (param $out i32)
      (local $asked i32) (local $future i32) (local $pollable i32)
      (global.set $heap (i32.const 65536))
      (local.set $asked (call $asked.new (call $fields.new)))
      ;; some(HTTP)
      (drop (call $asked.set-scheme (local.get $asked) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
      ;; an option<string>: its discriminant, its pointer, its length
      (call $request.authority (local.get $request) (i32.const 128))
      (drop (call $asked.set-authority (local.get $asked)
        (i32.load8_u (i32.const 128)) (i32.load (i32.const 132)) (i32.load (i32.const 136))))
      (call $request.path (local.get $request) (i32.const 128))
      (drop (call $asked.set-path (local.get $asked)
        (i32.load8_u (i32.const 128)) (i32.load (i32.const 132)) (i32.load (i32.const 136))))
      (call $request.drop (local.get $request))
      (call $ask (local.get $asked) (i32.const 0) (i32.const 0) (i32.const 128))
      (if (i32.load8_u (i32.const 128)) (then unreachable))
      (local.set $future (i32.load (i32.const 136)))
      (local.set $pollable (call $future.subscribe (local.get $future)))
      (call $pollable.block (local.get $pollable))
      (call $pollable.drop (local.get $pollable))
      (call $future.get (local.get $future) (i32.const 128))
      ;; an option of a result of a result: some, ok, ok
      (if (i32.ne (i32.load8_u (i32.const 128)) (i32.const 1)) (then unreachable))
      (if (i32.load8_u (i32.const 136)) (then unreachable))
      (if (i32.load8_u (i32.const 144)) (then unreachable))
      (call $answer.drop (i32.load (i32.const 152)))
      (call $future.drop (local.get $future))
      (call $respond (local.get $out) (i32.const 200) (i32.const 256) (i32.const 5))))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "respond" (instance $respond))
    (with "host" (instance
      (export "request.authority" (func $request.authority))
      (export "request.path" (func $request.path))
      (export "request.drop" (func $request.drop))
      (export "fields.new" (func $fields.new))
      (export "asked.new" (func $asked.new))
      (export "asked.set-scheme" (func $asked.set-scheme))
      (export "asked.set-authority" (func $asked.set-authority))
      (export "asked.set-path" (func $asked.set-path))
      (export "ask" (func $ask))
      (export "future.subscribe" (func $future.subscribe))
      (export "future.get" (func $future.get))
      (export "future.drop" (func $future.drop))
      (export "answer.drop" (func $answer.drop))
      (export "pollable.block" (func $pollable.block))
      (export "pollable.drop" (func $pollable.drop))))))

  ;; include handler.wat
)
