"""Load for a server, from a process of its own: ``python -m benchmarks.load get|post|echo PORT ...`` prints JSON.

Bare sockets, so that what is measured is the server: a request is bytes made beforehand, and a response that is as
long as one before, and ends like it, is not looked into.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time

BLOCK = 64 << 10


class BadAnswer(Exception):
    """The server did not answer as it should; the message says with what."""


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def get(port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    """GET a path over connections that are kept, one request after the other on each, for so many seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: */*\r\n\r\n".encode()
    sockets: dict[int, socket.socket] = {}
    poll = select.poll()
    for _ in range(connections):
        connection = connect(port)
        sockets[connection.fileno()] = connection
        poll.register(connection, select.POLLIN)
        connection.sendall(request)
    received = dict.fromkeys(sockets, b"")
    #: the forms that responses have had so far, as their lengths and ends
    known: set[tuple[int, bytes]] = set()
    done = 0
    start = now = time.perf_counter()
    end = start + seconds
    while now < end:
        for fileno, _ in poll.poll(1000):
            connection = sockets[fileno]
            data = connection.recv(BLOCK)
            if not data:
                raise BadAnswer(f"the server closed a connection after {received[fileno]!r}")
            data = received[fileno] + data
            form = (len(data), data[-20:])
            if form in known or _complete(data):
                known.add(form)
                connection.sendall(request)
                done += 1
                data = b""
            received[fileno] = data
        now = time.perf_counter()
    return {"requests": done, "seconds": now - start}


def _complete(response: bytes) -> bool:
    """Whether all of a response is there; BadAnswer if it is no success."""
    head, separator, content = response.partition(b"\r\n\r\n")
    if not separator:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise BadAnswer(repr(head[:100]))
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"content-length" in lines:
        return len(content) == int(lines[b"content-length"])
    return content.endswith(b"\r\n0\r\n\r\n")


def post(port: int, path: str, size: int, with_length: bool) -> dict[str, float]:
    """POST ``size`` bytes and check that they come back; the time until the last of them did."""
    block = bytes(range(256)) * (BLOCK // 256)
    length = f"Content-Length: {size}" if with_length else "Transfer-Encoding: chunked"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{length}\r\nConnection: close\r\n\r\n"
    with connect(port) as connection:
        sender = threading.Thread(target=_send, args=(connection, head.encode(), block, size, with_length), daemon=True)
        start = time.perf_counter()
        sender.start()
        received = _receive(connection, block)
        elapsed = time.perf_counter() - start
        sender.join()
    if received != size:
        raise BadAnswer(f"{received} bytes came back of {size}")
    return {"bytes": size, "seconds": elapsed}


def _send(connection: socket.socket, head: bytes, block: bytes, size: int, with_length: bool) -> None:
    connection.sendall(head)
    chunk = block if with_length else b"%x\r\n" % len(block) + block + b"\r\n"
    for _ in range(size // len(block)):
        connection.sendall(chunk)
    if not with_length:
        connection.sendall(b"0\r\n\r\n")


def _receive(connection: socket.socket, block: bytes) -> int:
    """Read one response to its end, checking that it is ``block`` over and over; how long it was."""
    stream = connection.makefile("rb", buffering=1 << 20)
    status = stream.readline()
    if not status.startswith(b"HTTP/1.1 200"):
        raise BadAnswer(repr(status))
    headers: dict[bytes, bytes] = {}
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    pattern = block * 2
    received = 0

    def take(count: int) -> None:
        nonlocal received
        while count:
            data = stream.read1(min(count, BLOCK))  # type: ignore[attr-defined]
            if not data:
                raise BadAnswer(f"the response ended {count} bytes early")
            offset = received % BLOCK
            if data != pattern[offset : offset + len(data)]:
                raise BadAnswer(f"other bytes than were sent, between {received} and {received + len(data)}")
            received += len(data)
            count -= len(data)

    if b"content-length" in headers:
        take(int(headers[b"content-length"]))
        return received
    while size := int(stream.readline().split(b";")[0], 16):
        take(size)
        stream.readline()
    return received


def echo(port: int, size: int) -> dict[str, float]:
    """Send ``size`` bytes over a connection and check that they come back; the time until the last of them did."""
    block = bytes(range(256)) * (BLOCK // 256)
    pattern = block * 2
    received = 0
    with connect(port) as connection:

        def send() -> None:
            for _ in range(size // BLOCK):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        start = time.perf_counter()
        sender.start()
        while data := connection.recv(BLOCK):
            offset = received % BLOCK
            if data != pattern[offset : offset + len(data)]:
                raise BadAnswer(f"other bytes than were sent, between {received} and {received + len(data)}")
            received += len(data)
        elapsed = time.perf_counter() - start
        sender.join()
    if received != size:
        raise BadAnswer(f"{received} bytes came back of {size}")
    return {"bytes": size, "seconds": elapsed}


def main(arguments: list[str]) -> None:
    match arguments:
        case ["get", port, path, connections, seconds]:
            result = get(int(port), path, int(connections), float(seconds))
        case ["post", port, path, size, framing]:
            result = post(int(port), path, int(size), framing == "length")
        case ["echo", port, size]:
            result = echo(int(port), int(size))
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
