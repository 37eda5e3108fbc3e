#!/usr/bin/env bash
# h2o 2.2.5 passes a response that broke off to its client as a complete one.
#
# A server behind h2o's reverse proxy begins a response with chunked content, and fails: it closes the connection before
# the last chunk. This is how HTTP/1.1 tells a recipient that content is incomplete (RFC 9112, section 8).
#
# Expected: the client sees that, too: h2o closes its connection without the last chunk, or resets the stream. HAProxy
# 2.6, nginx 1.31, Envoy 1.40, Caddy 2.11, Varnish 7.1 and lighttpd 1.4 do.
# Actual: h2o sends the last chunk itself. The client reads half of the content, and no error. curl's exit code is 0.
#
# A guest that traps after the head of its response makes a visibly cut response. Behind h2o nobody sees that, and caches
# may keep the half. Only a content-length, or a trailer or checksum in the content, reveals it.
#
# Requires python3, curl, and Debian 12's packages by apt-get download; no root. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download h2o=2.2.5+dfsg2-7 libyaml-0-2 >log 2>&1 || { cat log; echo "cannot get Debian 12's h2o 2.2.5"; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" root; done
python3 - <<'PYTHON'
import contextlib
import os
import socket
import subprocess
import threading
import time

folder = os.getcwd()


def serve(connection):
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        line = stream.readline()
        while stream.readline() not in (b"\r\n", b""):
            pass
        if b"/length" in line:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


def accept():
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


def curl(port, path):
    """Return curl's exit code and the content."""
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "10", f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    return done.returncode, done.stdout


listener = socket.create_server(("127.0.0.1", 0))
server = listener.getsockname()[1]
threading.Thread(target=accept, daemon=True).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with open("h2o.conf", "w") as configuration:
    configuration.write(
        f"num-threads: 1\nlisten: {{host: 127.0.0.1, port: {port}}}\n"
        f'hosts:\n  default:\n    paths:\n      "/":\n        proxy.reverse.url: "http://127.0.0.1:{server}/"\n'
    )
h2o = subprocess.Popen(
    [f"{folder}/root/usr/bin/h2o", "-c", "h2o.conf"],
    env={**os.environ, "LD_LIBRARY_PATH": f"{folder}/root/usr/lib/x86_64-linux-gnu"},
    stdout=open("h2o.log", "wb"),
    stderr=subprocess.STDOUT,
)
try:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise SystemExit("h2o does not start: " + open("h2o.log").read())
    found = {
        "directly": curl(server, "/"),
        "through h2o": curl(port, "/"),
        "through h2o, with a content-length": curl(port, "/length"),
    }
finally:
    h2o.terminate()
    h2o.wait()
for name, outcome in found.items():
    print(f"{name}: (exit code, content) {outcome}")
assert found["directly"] == (18, b"hello")
assert found["through h2o"] == (0, b"hello"), "h2o shows that the response is cut"
assert found["through h2o, with a content-length"] == (18, b"hello")
PYTHON
