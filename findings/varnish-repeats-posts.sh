#!/usr/bin/env bash
# Varnish 7.1.1 sends a POST twice if the server closes a kept connection without a response.
#
# A server receives POST /increment without content on a connection that it has used before, and closes it before the
# response: it was killed, or its guest ended the process. The request may have taken effect.
#
# Expected: 503. A proxy must not repeat a request whose method is not idempotent (RFC 9110, section 9.2.2). nginx
# 1.31, Envoy 1.40 and Caddy 2.11 return 502 or 503 to the POST.
# Actual: Varnish sends the POST again on a new connection, and returns the second response. It does so for every method,
# known or not, if the request has no content. If it has content, or if the connection is new, Varnish returns 503.
#
# Behind Varnish, a replica that fails can count a visit twice. A server that responds with connection: close gets each
# POST once.
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
import os
import socket
import subprocess
import threading
import time

folder = os.getcwd()
libraries = f"{folder}/root/usr/lib/x86_64-linux-gnu"
received = []


def serve(connection):
    """Answer requests. Close the connection instead of the response to its second request, after it took effect."""
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        count = 0
        while line := stream.readline():
            length = 0
            while (field := stream.readline()) not in (b"\r\n", b""):
                name, _, value = field.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            stream.read(length)
            count += 1
            received.append(line.split()[0].decode())
            if count == 2:
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def accept():
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


def exchange(method, content=b""):
    """Return the status code of a response."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        head = f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
        client.sendall(head.encode() + content)
        return int(client.makefile("rb").read().split()[1])


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
    found = {}
    for method, content in (("POST", b""), ("FOO", b""), ("POST", b"abc")):
        received.clear()
        # Make a kept connection, which the request then uses.
        exchange("GET")
        status = exchange(method, content)
        found[method, content] = status, received[1:].count(method)
        print(f"{method} with {len(content)} bytes of content: {status}, and the server received it {received[1:].count(method)} times")
        # Use up the connection that the repeated request has left.
        exchange("GET")
finally:
    varnish.terminate()
    varnish.wait()
assert found["POST", b""] == (200, 2), "Varnish does not repeat a POST"
assert found["FOO", b""] == (200, 2)
assert found["POST", b"abc"] == (503, 1)
PYTHON
