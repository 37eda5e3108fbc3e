#!/usr/bin/env bash
# Varnish 7.1.1 fails at trailers, of a response as of a request, and at 103 Early Hints: its client gets 503.
#
# HTTP/1.1 allows trailers after chunked content (RFC 9112, section 7.1.2), and 1xx responses before the final one (RFC
# 9110, section 15.2). A recipient may drop both.
#
# Expected: Varnish drops what it does not support, as nginx does, and passes the rest on: status 200 with all content.
# Actual: 503 in all three cases, because Varnish takes trailers for an error of the content. If it has already sent the
# head of a response with trailers, the client gets a cut response instead.
#
# A guest that sends trailers (a checksum, gRPC's status) or 103 Early Hints works directly, and behind HAProxy, Envoy or
# Caddy. It fails completely behind Varnish.
#
# Requires python3, a C compiler (for VCL), and Debian 12's packages by apt-get download; no root. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download varnish=7.1.1-2+deb12u1 libjemalloc2 >log 2>&1 || { cat log; echo "cannot get Debian 12's varnish 7.1.1"; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" root; done
chmod 755 "$folder"
python3 - <<'PYTHON'
import contextlib
import http.client
import os
import socket
import subprocess
import threading
import time

folder = os.getcwd()
libraries = f"{folder}/root/usr/lib/x86_64-linux-gnu"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
RESPONSES = {
    b"/plain": CHUNKED + b"\r\n",
    b"/trailers": CHUNKED + b"x-sum: 42\r\n\r\n",
    b"/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + CHUNKED + b"\r\n",
}


def serve(connection):
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            fields = []
            while (field := stream.readline()) not in (b"\r\n", b""):
                fields.append(field.lower())
            if any(field.startswith(b"transfer-encoding: chunked") for field in fields):
                while (size := int(stream.readline(), 16)) != 0:
                    stream.read(size + 2)
                while stream.readline() not in (b"\r\n", b""):
                    pass
            connection.sendall(RESPONSES[line.split()[1]])


def accept():
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


def exchange(head, content=b""):
    """Return the status code, and whether the content is complete."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % head + content)
        response = http.client.HTTPResponse(client)
        try:
            response.begin()
            return response.status, response.read() == b"hello"
        except http.client.HTTPException:
            return response.status, False


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, daemon=True).start()
with open("test.vcl", "w") as vcl:
    vcl.write(f'vcl 4.1; backend default {{ .host = "127.0.0.1"; .port = "{listener.getsockname()[1]}"; }}\n')
    vcl.write("sub vcl_recv { return (pass); }\n")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
varnish = subprocess.Popen(
    [f"{folder}/root/usr/sbin/varnishd", "-F", "-j", "none", "-n", f"{folder}/work", "-a", f"127.0.0.1:{port}"]
    + ["-f", f"{folder}/test.vcl", "-s", "malloc,16m"],
    env={**os.environ, "LD_LIBRARY_PATH": f"{libraries}/varnish:{libraries}"},
    stdout=open("varnish.log", "wb"),
    stderr=subprocess.STDOUT,
)
try:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("varnishd does not start: " + open("varnish.log").read())
    upload = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    found = {
        "plain": exchange(b"GET /plain", b"\r\n"),
        "a response with trailers": exchange(b"GET /trailers", b"\r\n"),
        "a response after 103": exchange(b"GET /hints", b"\r\n"),
        "a request with content": exchange(b"POST /plain", upload + b"\r\n"),
        "a request with trailers": exchange(b"POST /plain", upload + b"x-sum: 42\r\n\r\n"),
    }
finally:
    varnish.terminate()
    varnish.wait()
for name, outcome in found.items():
    print(f"{name}: (status, complete) {outcome}")
assert found["plain"] == found["a request with content"] == (200, True)
failed = [name for name, (_, complete) in found.items() if not complete]
assert failed == ["a response with trailers", "a response after 103", "a request with trailers"], "Varnish has changed"
PYTHON
