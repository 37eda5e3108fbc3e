#!/usr/bin/env bash
# lighttpd 1.4.69 turns a response's trailers into header fields that end with CR CR LF, which clients reject.
#
# A server behind lighttpd's mod_proxy sends chunked content with the trailer x-sum. The client announces TE: trailers.
#
# Expected: lighttpd passes the trailer on, or drops it. If it merges it into the header section (RFC 9110, section 6.5.1
# allows that only for fields known to be safe), the field is well-formed.
# Actual: if the whole response has arrived before the head is sent, the client gets "x-sum: 42" CR CR LF in the header
# section. Of the clients, curl 7.88 accepts that. But httpx 0.28.1 raises RemoteProtocolError and aiohttp 3.14.5 raises
# ClientResponseError, so their users lose the whole response. If the trailer arrives later, it stays a trailer.
#
# A guest with trailers therefore works or fails by its speed. Behind lighttpd it must send no trailers.
#
# Requires python3, PyPI, and Debian 12's packages by apt-get download; no root. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download lighttpd=1.4.69-1 libnettle8 libxxhash0 >log 2>&1 || { cat log; echo "cannot get Debian 12's lighttpd 1.4.69"; exit 1; }
for package in *.deb; do dpkg-deb -x "$package" root; done
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 h11==0.16.0 aiohttp==3.14.5 >log 2>&1 || { cat log; exit 1; }
venv/bin/python - <<'PYTHON'
import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time

import aiohttp
import httpx

folder = os.getcwd()
libraries = f"{folder}/root/usr/lib/x86_64-linux-gnu"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
TRAILERS = b"0\r\nx-sum: 42\r\n\r\n"


def serve(connection):
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            while stream.readline() not in (b"\r\n", b""):
                pass
            if b"/slow" in line:
                connection.sendall(HEAD)
                time.sleep(0.5)
                connection.sendall(TRAILERS)
            else:
                connection.sendall(HEAD + (TRAILERS if b"/trailers" in line else b"0\r\n\r\n"))


def accept():
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


def raw(path):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n".encode())
        return client.makefile("rb").read()


def by_httpx(path):
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}").text
    except httpx.HTTPError as error:
        return type(error).__name__


async def by_aiohttp(path):
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
            return await response.text()
    except aiohttp.ClientError as error:
        return type(error).__name__


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, daemon=True).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with open("lighttpd.conf", "w") as configuration:
    configuration.write(
        f'server.document-root = "{folder}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
        'server.stream-response-body = 1\nserver.modules = ("mod_proxy")\n'
        f'proxy.server = ("/" => (("host" => "127.0.0.1", "port" => {listener.getsockname()[1]})))\n'
    )
lighttpd = subprocess.Popen(
    [f"{folder}/root/usr/sbin/lighttpd", "-D", "-f", "lighttpd.conf", "-m", f"{folder}/root/usr/lib/lighttpd"],
    env={**os.environ, "LD_LIBRARY_PATH": libraries},
    stdout=open("lighttpd.log", "wb"),
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
        raise SystemExit("lighttpd does not start: " + open("lighttpd.log").read())
    plain, trailers, slow = raw("/plain"), raw("/trailers"), raw("/slow")
    clients = {path: (by_httpx(path), asyncio.run(by_aiohttp(path))) for path in ("/plain", "/trailers")}
finally:
    lighttpd.terminate()
    lighttpd.wait()
print("with trailers at once:", trailers.partition(b"\r\n\r\n")[0])
print("with trailers later: ", slow)
print("httpx, aiohttp without trailers:", clients["/plain"])
print("httpx, aiohttp with trailers:   ", clients["/trailers"])
assert b"hello" in plain and b"\r\r\n" not in plain
assert b"x-sum: 42\r\r\n" in trailers.partition(b"\r\n\r\n")[0], "lighttpd has changed"
assert slow.endswith(b"0\r\nx-sum: 42\r\n\r\n")
assert clients["/plain"] == ("hello", "hello")
assert clients["/trailers"] == ("RemoteProtocolError", "ClientResponseError")
PYTHON
