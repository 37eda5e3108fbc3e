"""A load generator in its own process: ``python -m benchmarks.load get|get-http2|post|echo PORT ...`` prints JSON.

It uses bare sockets, so that the server is the bottleneck. Requests are prepared bytes. A response with the length and
the end of an earlier one is not parsed.
"""

from __future__ import annotations

import json
import math
import select
import socket
import sys
import threading
import time

import hpack

BLOCK = 64 << 10


class BadAnswer(Exception):
    """The server sent an unexpected response. The message contains it."""


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def get(
    port: int, path: str, connections: int, seconds: float, host: str | None = None, most: float = math.inf
) -> dict[str, float]:
    """GET a path repeatedly over persistent connections, one request at a time on each, for ``seconds``.

    The host is ``host``, by default the server itself. The load ends after ``most`` requests.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {host or f'localhost:{port}'}\r\nAccept: */*\r\n\r\n".encode()
    sockets: dict[int, socket.socket] = {}
    poll = select.poll()
    for _ in range(connections):
        connection = connect(port)
        sockets[connection.fileno()] = connection
        poll.register(connection, select.POLLIN)
        connection.sendall(request)
    received = dict.fromkeys(sockets, b"")
    asked = dict.fromkeys(sockets, time.perf_counter())
    latencies: list[float] = []
    #: the forms of responses so far, as their lengths and ends
    known: set[tuple[int, bytes]] = set()
    done = 0
    start = now = time.perf_counter()
    end = start + seconds
    while now < end and done < most:
        for fileno, _ in poll.poll(1000):
            connection = sockets[fileno]
            data = connection.recv(BLOCK)
            if not data:
                raise BadAnswer(f"the server closed a connection after {received[fileno]!r}")
            data = received[fileno] + data
            form = (len(data), data[-20:])
            if form in known or _complete(data):
                known.add(form)
                answered = time.perf_counter()
                latencies.append(answered - asked[fileno])
                asked[fileno] = answered
                connection.sendall(request)
                done += 1
                data = b""
            received[fileno] = data
        now = time.perf_counter()
    return {"requests": done, "seconds": now - start, "p99": percentile(latencies, 0.99)}


def percentile(values: list[float], part: float) -> float:
    """Return the value below which the fraction ``part`` of the values lies, or nan without values."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else math.nan


def get_http2(port: int, path: str, connections: int, streams: int, seconds: float) -> dict[str, float]:
    """GET a path like ``get``, over HTTP/2 with ``streams`` concurrent requests on each connection."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0  # makes all requests identical
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", f"localhost:{port}"), (":path", path)]
    block = encoder.encode(fields)
    clients: dict[int, _Http2Client] = {}
    poll = select.poll()
    for _ in range(connections):
        client = _Http2Client(connect(port), block)
        clients[client.connection.fileno()] = client
        poll.register(client.connection, select.POLLIN)
        client.begin(streams)
    done = 0
    start = now = time.perf_counter()
    end = start + seconds
    while now < end:
        for fileno, _ in poll.poll(1000):
            done += clients[fileno].receive()
        now = time.perf_counter()
    return {"requests": done, "seconds": now - start}


class _Http2Client:
    """Sends a new request for each response that ends."""

    def __init__(self, connection: socket.socket, block: bytes) -> None:
        self.connection = connection
        self._block = block
        self._number = 1
        self._data = b""

    def _request(self) -> bytes:
        # HEADERS with END_STREAM and END_HEADERS.
        frame = len(self._block).to_bytes(3, "big") + b"\1\5" + self._number.to_bytes(4, "big") + self._block
        self._number += 2
        return frame

    def begin(self, streams: int) -> None:
        settings = b"\0\0\0\4\0\0\0\0\0"
        window = b"\0\0\4\10\0\0\0\0\0" + (1 << 30).to_bytes(4, "big")
        requests = b"".join(self._request() for _ in range(streams))
        self.connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window + requests)

    def receive(self) -> int:
        """Return the number of responses that have ended, and send as many new requests."""
        data = self.connection.recv(BLOCK)
        if not data:
            raise BadAnswer("the server closed a connection")
        data = self._data + data
        start = ended = 0
        answers = b""
        while len(data) >= start + 9:
            size = int.from_bytes(data[start : start + 3], "big")
            end = start + 9 + size
            if len(data) < end:
                break
            kind, flags = data[start + 3], data[start + 4]
            if kind in (3, 7):
                raise BadAnswer(f"the server sent a frame of the type {kind}")
            if kind in (0, 1) and flags & 1:
                ended += 1
                answers += self._request()
            elif kind == 4 and not flags & 1:
                answers += b"\0\0\0\4\1\0\0\0\0"
            start = end
        self._data = data[start:]
        if answers:
            self.connection.sendall(answers)
        return ended


def _complete(response: bytes) -> bool:
    """Return whether a response is complete. Raises BadAnswer if it is not a success."""
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
    """POST ``size`` bytes, check that they come back, and return the time until the last one."""
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
    """Read one response to its end, check that it repeats ``block``, and return its size."""
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
    """Send ``size`` bytes over a connection, check that they come back, and return the time until the last one."""
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
        case ["get", port, path, connections, seconds, host, most]:
            result = get(int(port), path, int(connections), float(seconds), host, float(most))
        case ["get-http2", port, path, connections, streams, seconds]:
            result = get_http2(int(port), path, int(connections), int(streams), float(seconds))
        case ["post", port, path, size, framing]:
            result = post(int(port), path, int(size), framing == "length")
        case ["echo", port, size]:
            result = echo(int(port), int(size))
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
