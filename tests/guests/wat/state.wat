;; Uses state that outlives it, wasi:config, wasi:keyvalue and wasi:logging, by the number in the path. /0 answers with the
;; variable "greeting". /1 adds 1 to the counter "visits" of the default bucket and answers with the sum. /2 answers with
;; the stored value. /3 logs a warning of two lines. A missing value is a 404, and an error of the store a 503 with the
;; message.
(component
  ;; include io.wat
  ;; include http.wat
  ;; include memory.wat
  ;; include path.wat
  ;; include respond.wat
  ;; include decimal.wat

  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $error' (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (import "wasi:keyvalue/store@0.2.0-draft" (instance $store
    (export "bucket" (type $bucket (sub resource)))
    (type $error' (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $error')))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))
    (export "[method]bucket.get"
      (func (param "self" (borrow $bucket)) (param "key" string) (result (result (option (list u8)) (error $error)))))))
  (alias export $store "bucket" (type $bucket))
  (alias export $store "error" (type $store-error))
  (import "wasi:keyvalue/atomics@0.2.0-draft" (instance $atomics
    (alias outer 1 $bucket (type $bucket''))
    (export "bucket" (type $bucket (eq $bucket'')))
    (alias outer 1 $store-error (type $error''))
    (export "error" (type $error (eq $error'')))
    (export "increment"
      (func (param "bucket" (borrow $bucket)) (param "key" string) (param "delta" u64)
        (result (result u64 (error $error)))))))
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level' (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))

  (core func $config.get (canon lower (func $config "get") (memory $mem) (realloc $realloc)))
  (core func $open (canon lower (func $store "open") (memory $mem) (realloc $realloc)))
  (core func $bucket.get (canon lower (func $store "[method]bucket.get") (memory $mem) (realloc $realloc)))
  (core func $bucket.drop (canon resource.drop $bucket))
  (core func $increment (canon lower (func $atomics "increment") (memory $mem) (realloc $realloc)))
  (core func $log (canon lower (func $logging "log") (memory $mem)))

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "path" "number" (func $number (param i32) (result i32)))
    (import "respond" "respond" (func $respond (param i32 i32 i32 i32)))
    (import "decimal" "decimal" (func $decimal (param i32) (result i32 i32)))
    (import "host" "config.get" (func $config.get (param i32 i32 i32)))
    (import "host" "open" (func $open (param i32 i32 i32)))
    (import "host" "bucket.get" (func $bucket.get (param i32 i32 i32 i32)))
    (import "host" "bucket.drop" (func $bucket.drop (param i32)))
    (import "host" "increment" (func $increment (param i32 i32 i32 i64 i32)))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))

    (data (i32.const 2048) "greeting")
    (data (i32.const 2064) "visits")
    (data (i32.const 2080) "shop")
    (data (i32.const 2096) "sold out\nERROR forged: \1b[2J")
    (data (i32.const 2144) "logged\n")
    (data (i32.const 2160) "no such bucket\n")

    (global $out (mut i32) (i32.const 0))

    (func $say (param $status i32) (param $at i32) (param $len i32)
      (call $respond (global.get $out) (local.get $status) (local.get $at) (local.get $len)))

    ;; Answer with an option<string> or option<list<u8>> at 4.
    (func $say-option
      (if (i32.load8_u (i32.const 4))
        (then (call $say (i32.const 200) (i32.load (i32.const 8)) (i32.load (i32.const 12))))
        (else (call $say (i32.const 404) (i32.const 0) (i32.const 0)))))

    ;; Answer with this error.
    (func $say-error (param $at i32)
      (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 2))
        (then (call $say (i32.const 503) (i32.load offset=4 (local.get $at)) (i32.load offset=8 (local.get $at))))
        (else (call $say (i32.const 503) (i32.const 2160) (i32.const 15)))))

    (func $greet
      (call $config.get (i32.const 2048) (i32.const 8) (i32.const 0))
      (call $say-option))

    (func $visit (param $bucket i32)
      (call $increment (local.get $bucket) (i32.const 2064) (i32.const 6) (i64.const 1) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then (call $say-error (i32.const 8)))
        (else (call $say (i32.const 200) (call $decimal (i32.wrap_i64 (i64.load (i32.const 8))))))))

    (func $visits (param $bucket i32)
      (call $bucket.get (local.get $bucket) (i32.const 2064) (i32.const 6) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then (call $say-error (i32.const 4)))
        (else (call $say-option))))

    (func (export "handle") (param $request i32) (param $response-out i32)
      (local $case i32) (local $bucket i32)
      (global.set $heap (i32.const 65536))
      (global.set $out (local.get $response-out))
      (local.set $case (call $number (local.get $request)))
      (if (i32.eqz (local.get $case)) (then (return (call $greet))))
      (if (i32.eq (local.get $case) (i32.const 3))
        (then
          (call $log (i32.const 3) (i32.const 2080) (i32.const 4) (i32.const 2096) (i32.const 27))
          (return (call $say (i32.const 200) (i32.const 2144) (i32.const 7)))))
      (call $open (i32.const 0) (i32.const 0) (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (return (call $say-error (i32.const 4)))))
      (local.set $bucket (i32.load (i32.const 4)))
      (if (i32.eq (local.get $case) (i32.const 1))
        (then (call $visit (local.get $bucket)))
        (else (call $visits (local.get $bucket))))
      (call $bucket.drop (local.get $bucket))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "path" (instance $path))
    (with "respond" (instance $respond))
    (with "decimal" (instance $decimal))
    (with "host" (instance
      (export "config.get" (func $config.get))
      (export "open" (func $open))
      (export "bucket.get" (func $bucket.get))
      (export "bucket.drop" (func $bucket.drop))
      (export "increment" (func $increment))
      (export "log" (func $log))))))

  ;; include handler.wat
)
