;; The component that `wasi-trio serve` serves by default. Its page shows the request as a guest sees it, and the number
;; of requests that this instance has answered. It is written by hand for wasi:http/proxy@0.2.0.

(component $demo
  ;; ---- imports ---------------------------------------------------------------------------------------------------
  ;; Instance types only list the functions used here, and all types that these functions mention.

  (import "wasi:io/error@0.2.0" (instance $error
    (export "error" (type (sub resource)))))
  (alias export $error "error" (type $io-error))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $io-error (type $error'))
    (export "error" (type $error (eq $error')))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "output-stream" (type $output-stream (sub resource)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $output-stream (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))

    (type $method' (variant
      (case "get") (case "head") (case "post") (case "put") (case "delete") (case "connect") (case "options")
      (case "trace") (case "patch") (case "other" string)))
    (export "method" (type $method (eq $method')))
    (type $DNS' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $DNS (eq $DNS')))
    (type $TLS' (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $TLS (eq $TLS')))
    (type $size' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $error-code' (variant
      (case "DNS-timeout")
      (case "DNS-error" $DNS)
      (case "destination-not-found")
      (case "destination-unavailable")
      (case "destination-IP-prohibited")
      (case "destination-IP-unroutable")
      (case "connection-refused")
      (case "connection-terminated")
      (case "connection-timeout")
      (case "connection-read-timeout")
      (case "connection-write-timeout")
      (case "connection-limit-reached")
      (case "TLS-protocol-error")
      (case "TLS-certificate-error")
      (case "TLS-alert-received" $TLS)
      (case "HTTP-request-denied")
      (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size)
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed")
      (case "HTTP-protocol-error")
      (case "loop-detected")
      (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-code')))
    (type $header-error' (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error')))

    (export "fields" (type $fields (sub resource)))
    (type $entries (list (tuple string (list u8))))
    (export "[static]fields.from-list"
      (func (param "entries" $entries) (result (result (own $fields) (error $header-error)))))
    (export "[method]fields.entries" (func (param "self" (borrow $fields)) (result $entries)))

    (export "incoming-request" (type $incoming-request (sub resource)))
    (type $request (borrow $incoming-request))
    (export "[method]incoming-request.method" (func (param "self" $request) (result $method)))
    (export "[method]incoming-request.path-with-query" (func (param "self" $request) (result (option string))))
    (export "[method]incoming-request.headers" (func (param "self" $request) (result (own $fields))))

    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.body"
      (func (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[static]response-outparam.set"
      (func (param "param" (own $response-outparam))
        (param "response" (result (own $outgoing-response) (error $error-code)))))
    (export "[method]outgoing-body.write"
      (func (param "self" (borrow $outgoing-body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish"
      (func (param "this" (own $outgoing-body)) (param "trailers" (option (own $fields)))
        (result (result (error $error-code)))))))
  (alias export $http "fields" (type $fields))
  (alias export $http "incoming-request" (type $incoming-request))
  (alias export $http "outgoing-response" (type $outgoing-response))
  (alias export $http "outgoing-body" (type $outgoing-body))
  (alias export $http "response-outparam" (type $response-outparam))

  ;; ---- memory ----------------------------------------------------------------------------------------------------
  ;; The memory has its own core instance. The imports need it before the module exists that calls them.
  ;;
  ;;     0  results of host calls: the discriminant at 0, the payload at 4.
  ;;    64  the headers of the response.
  ;;   256  the names of the methods.
  ;;   512  the fixed parts of the page, each ended by a zero.
  ;;  4096  the buffer for a piece of the page, 4096 bytes.
  ;; 65536  strings and lists from the host, one after another.

  (core module $Memory
    (memory (export "memory") 2)
    (global $heap (export "heap") (mut i32) (i32.const 65536))

    ;; The host only allocates new blocks, so this never moves old ones.
    (func (export "realloc")
        (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                 (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (loop $grow
          (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
          (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        unreachable)
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  ;; ---- the imports as core functions -----------------------------------------------------------------------------

  (core func $fields.from-list (canon lower (func $http "[static]fields.from-list") (memory $mem)))
  (core func $fields.entries (canon lower (func $http "[method]fields.entries") (memory $mem) (realloc $realloc)))
  (core func $fields.drop (canon resource.drop $fields))
  (core func $request.method
    (canon lower (func $http "[method]incoming-request.method") (memory $mem) (realloc $realloc)))
  (core func $request.path
    (canon lower (func $http "[method]incoming-request.path-with-query") (memory $mem) (realloc $realloc)))
  (core func $request.headers (canon lower (func $http "[method]incoming-request.headers")))
  (core func $request.drop (canon resource.drop $incoming-request))
  (core func $response.new (canon lower (func $http "[constructor]outgoing-response")))
  (core func $response.body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $outparam.set (canon lower (func $http "[static]response-outparam.set") (memory $mem)))
  (core func $body.write (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $body.finish (canon lower (func $http "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))
  (core func $stream.write
    (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $stream.drop (canon resource.drop $output-stream))

  ;; ---- the guest -------------------------------------------------------------------------------------------------

  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "memory" "heap" (global $heap (mut i32)))
    (import "host" "fields.from-list" (func $fields.from-list (param i32 i32 i32)))
    (import "host" "fields.entries" (func $fields.entries (param i32 i32)))
    (import "host" "fields.drop" (func $fields.drop (param i32)))
    (import "host" "request.method" (func $request.method (param i32 i32)))
    (import "host" "request.path" (func $request.path (param i32 i32)))
    (import "host" "request.headers" (func $request.headers (param i32) (result i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "response.new" (func $response.new (param i32) (result i32)))
    (import "host" "response.body" (func $response.body (param i32 i32)))
    (import "host" "outparam.set" (func $outparam.set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "body.write" (func $body.write (param i32 i32)))
    (import "host" "body.finish" (func $body.finish (param i32 i32 i32 i32)))
    (import "host" "stream.write" (func $stream.write (param i32 i32 i32 i32)))
    (import "host" "stream.drop" (func $stream.drop (param i32)))

    ;; The list of one header: the string at 80 and the list<u8> at 96.
    (data (i32.const 64) "\50\00\00\00" "\0c\00\00\00" "\60\00\00\00" "\18\00\00\00")
    (data (i32.const 80) "content-type")
    (data (i32.const 96) "text/html; charset=utf-8")

    ;; The names in the order of the variant, eight bytes each.
    (data (i32.const 256)
      "GET\00\00\00\00\00" "HEAD\00\00\00\00" "POST\00\00\00\00" "PUT\00\00\00\00\00" "DELETE\00\00"
      "CONNECT\00" "OPTIONS\00" "TRACE\00\00\00" "PATCH\00\00\00")

    (data (i32.const 512)
      "<!doctype html>\n<html lang=\"en\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"
      "<title>wasi_trio</title>\n<style>\n"
      "body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }\n"
      "code, td { font-family: ui-monospace, monospace; font-size: 14px; overflow-wrap: anywhere }\n"
      "td { padding: .1rem 1rem .1rem 0; vertical-align: top }\n"
      "</style>\n<h1>It works</h1>\n"
      "<p>A WebAssembly component wrote this page. You asked it for</p>\n<p><code>\00")
    (data (i32.const 1280) "</code></p>\n<p>and this is request <b id=\"count\">\00")
    (data (i32.const 1344)
      "</b> that this instance of it has answered. The headers of yours were</p>\n<table>\n\00")
    (data (i32.const 1472) "<tr><td>\00")
    (data (i32.const 1488) "</td><td>\00")
    (data (i32.const 1504) "</td></tr>\n\00")
    (data (i32.const 1520)
      "</table>\n<p>Serve one of your own with <code>wasi-trio serve app.wasm</code>.</p>\n</html>\n\00")
    (data (i32.const 1664) "&amp;\00")
    (data (i32.const 1672) "&lt;\00")
    (data (i32.const 1680) "&gt;\00")

    (global $count (mut i32) (i32.const 0))
    (global $stream (mut i32) (i32.const 0))
    ;; The number of bytes in the buffer at 4096.
    (global $filled (mut i32) (i32.const 0))

    ;; Write the buffer. A failure means that the client has left, so it is ignored.
    (func $flush
      (if (global.get $filled)
        (then (call $stream.write (global.get $stream) (i32.const 4096) (global.get $filled) (i32.const 0))))
      (global.set $filled (i32.const 0)))

    (func $byte (param $byte i32)
      (i32.store8 (i32.add (i32.const 4096) (global.get $filled)) (local.get $byte))
      (global.set $filled (i32.add (global.get $filled) (i32.const 1)))
      ;; the maximum size of a blocking-write-and-flush
      (if (i32.eq (global.get $filled) (i32.const 4096)) (then (call $flush))))

    ;; Write the text at an address, up to its zero, without escaping.
    (func $fixed (param $at i32)
      (local $byte i32)
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.tee $byte (i32.load8_u (local.get $at)))))
          (call $byte (local.get $byte))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next))))

    ;; Write text from outside, escaped for HTML.
    (func $text (param $at i32) (param $len i32)
      (local $end i32) (local $byte i32)
      (local.set $end (i32.add (local.get $at) (local.get $len)))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $at) (local.get $end)))
          (local.set $byte (i32.load8_u (local.get $at)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (if (i32.eq (local.get $byte) (i32.const 0x26)) (then (call $fixed (i32.const 1664)) (br $next)))
          (if (i32.eq (local.get $byte) (i32.const 0x3c)) (then (call $fixed (i32.const 1672)) (br $next)))
          (if (i32.eq (local.get $byte) (i32.const 0x3e)) (then (call $fixed (i32.const 1680)) (br $next)))
          (call $byte (local.get $byte))
          (br $next))))

    (func $decimal (param $number i32)
      (if (i32.ge_u (local.get $number) (i32.const 10))
        (then (call $decimal (i32.div_u (local.get $number) (i32.const 10)))))
      (call $byte (i32.add (i32.const 0x30) (i32.rem_u (local.get $number) (i32.const 10)))))

    (func $method (param $request i32)
      (call $request.method (local.get $request) (i32.const 0))
      (if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 9))
        ;; other(string)
        (then (call $text (i32.load (i32.const 4)) (i32.load (i32.const 8))))
        (else (call $fixed (i32.add (i32.const 256) (i32.shl (i32.load8_u (i32.const 0)) (i32.const 3)))))))

    (func $path (param $request i32)
      (call $request.path (local.get $request) (i32.const 0))
      (if (i32.load8_u (i32.const 0))
        (then (call $text (i32.load (i32.const 4)) (i32.load (i32.const 8))))))

    ;; Write a row of the table for each header.
    (func $headers (param $request i32)
      (local $fields i32) (local $entry i32) (local $end i32)
      (local.set $fields (call $request.headers (local.get $request)))
      (call $fields.entries (local.get $fields) (i32.const 0))
      (call $fields.drop (local.get $fields))
      ;; an entry has 16 bytes: pointer and length of the name, pointer and length of the value
      (local.set $entry (i32.load (i32.const 0)))
      (local.set $end (i32.add (local.get $entry) (i32.shl (i32.load (i32.const 4)) (i32.const 4))))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $entry) (local.get $end)))
          (call $fixed (i32.const 1472))
          (call $text (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry)))
          (call $fixed (i32.const 1488))
          (call $text (i32.load offset=8 (local.get $entry)) (i32.load offset=12 (local.get $entry)))
          (call $fixed (i32.const 1504))
          (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
          (br $next))))

    ;; Set a response with status 200, and open its body. Return the body's handle.
    (func $respond (param $outparam i32) (result i32)
      (local $response i32) (local $body i32)
      (call $fields.from-list (i32.const 64) (i32.const 1) (i32.const 0))
      (local.set $response (call $response.new (i32.load (i32.const 4))))
      (call $response.body (local.get $response) (i32.const 0))
      (local.set $body (i32.load (i32.const 4)))
      ;; ok(response); the zeros stand for the payload of the largest error-code
      (call $outparam.set (local.get $outparam) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body.write (local.get $body) (i32.const 0))
      (global.set $stream (i32.load (i32.const 4)))
      (local.get $body))

    (func (export "handle") (param $request i32) (param $outparam i32)
      (local $body i32)
      ;; Free the memory of the previous request.
      (global.set $heap (i32.const 65536))
      (global.set $filled (i32.const 0))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))

      (local.set $body (call $respond (local.get $outparam)))
      (call $fixed (i32.const 512))
      (call $method (local.get $request))
      (call $byte (i32.const 0x20))
      (call $path (local.get $request))
      (call $fixed (i32.const 1280))
      (call $decimal (global.get $count))
      (call $fixed (i32.const 1344))
      (call $headers (local.get $request))
      (call $fixed (i32.const 1520))
      (call $flush)

      (call $request.drop (local.get $request))
      (call $stream.drop (global.get $stream))
      ;; no trailers
      (call $body.finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0))))

  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "fields.from-list" (func $fields.from-list))
      (export "fields.entries" (func $fields.entries))
      (export "fields.drop" (func $fields.drop))
      (export "request.method" (func $request.method))
      (export "request.path" (func $request.path))
      (export "request.headers" (func $request.headers))
      (export "request.drop" (func $request.drop))
      (export "response.new" (func $response.new))
      (export "response.body" (func $response.body))
      (export "outparam.set" (func $outparam.set))
      (export "body.write" (func $body.write))
      (export "body.finish" (func $body.finish))
      (export "stream.write" (func $stream.write))
      (export "stream.drop" (func $stream.drop))))))

  ;; ---- the export ------------------------------------------------------------------------------------------------

  (func $handle
    (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $incoming-handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $incoming-handler)))
