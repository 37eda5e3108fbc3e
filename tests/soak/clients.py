"""The clients of a soak, good and bad. Each makes one visit to a server, and fails after a wrong response."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Awaitable, Callable

import h2.exceptions
import h11
import trio

from tests.e2e.support import Client
from tests.serve.support import Http2

#: one visit to the server on a port of 127.0.0.1
Visit = Callable[[int], Awaitable[None]]

HOUR = "/sleep?ms=3600000"
BLOCK = bytes(range(256)) * 64


# ---- clients whose requests must all succeed ---------------------------------------------------------------


async def fast(port: int) -> None:
    """Send a few requests on one connection."""
    async with Client(port) as client:
        for _ in range(random.randint(1, 20)):
            answer = await client.ask("/hello")
            assert (answer.status, answer.body, answer.cut) == (200, b"Hello, world!\n", False), answer.status


async def echoing(port: int) -> None:
    content = BLOCK * random.randint(0, 20) + BLOCK[: random.randint(1, len(BLOCK))]
    async with Client(port) as client:
        if random.random() < 0.5:
            answer = await client.ask("/echo", "POST", content)
        else:
            await client.start("/echo", "POST", ("transfer-encoding", "chunked"))
            for start in range(0, len(content), 30_000):
                await client.write(content[start : start + 30_000])
            await client.end()
            answer = await client.rest(await client.head())
        assert (answer.status, answer.cut) == (200, False), answer.status
        assert answer.body == content, f"{len(answer.body)} bytes came back of {len(content)}, or others"


async def slow(port: int) -> None:
    async with Client(port) as client:
        answer = await client.ask(f"/sleep?ms={random.randint(20, 300)}")
        assert (answer.status, answer.body, answer.cut) == (200, b"slept\n", False), answer.status


async def multiplexed(port: int) -> None:
    """Send a few concurrent requests on an HTTP/2 connection, one of which is never read."""
    content = BLOCK * random.randint(1, 20)
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = Http2(stream)
        withheld = await client.ask("/flood")
        number = await client.ask("/echo", "POST")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, number, content)
            echoed = await client.content(number)
        assert echoed == content, f"{len(echoed)} bytes came back of {len(content)}, or others"
        assert await client.content(await client.ask("/hello")) == b"Hello, world!\n"
        assert withheld not in client.ended


# ---- clients that receive errors ---------------------------------------------------------------------------


async def trapping(port: int) -> None:
    async with Client(port) as client:
        answer = await client.ask(random.choice(["/trap", "/trap-in-body", "/exit"]))
        assert answer.status == 500 or (answer.status == 200 and answer.cut), answer.status


async def spinning(port: int) -> None:
    async with Client(port) as client:
        assert (await client.ask("/spin")).status == 504


async def late(port: int) -> None:
    async with Client(port) as client:
        assert (await client.ask(HOUR)).status == 504


# ---- clients of the guests hoard and p3_hoard --------------------------------------------------------------


async def surviving(port: int) -> None:
    async with Client(port) as client:
        for _ in range(random.randint(1, 20)):
            answer = await client.ask("/0")
            assert (answer.status, answer.body, answer.cut) == (200, b"survived\n", False), answer.status


async def hoarding(port: int) -> None:
    """Make an instance hold the maximum of one kind, until it is ended."""
    async with Client(port) as client:
        answer = await client.ask(f"/{random.randint(1, 4)}")
        assert answer.status in (500, 504), answer.status


# ---- clients that break off, each at one of several stages -------------------------------------------------


async def leaving(port: int) -> None:
    head = b"HTTP/1.1\r\nhost: localhost\r\n"
    upload = b"POST /echo " + head + b"content-length: 100000\r\n\r\n"
    request, awaited = random.choice(
        [
            (b"", 0),
            (b"GET /hello HTT", 0),
            (b"GET /hello " + head + b"\r\n", 0),
            (b"GET " + HOUR.encode() + b" " + head + b"\r\n", 0),
            (upload, 0),
            (upload + BLOCK, 0),
            (upload + BLOCK, 1000),
            (b"GET /flood " + head + b"\r\n", 100_000),
            (b"GET /endless " + head + b"\r\n", 50),
        ]
    )
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        if request:
            await stream.send_all(request)
        while awaited > 0:
            data = await stream.receive_some()
            assert data, "the server left first"
            awaited -= len(data)
        await trio.sleep(random.choice([0, 0, random.uniform(0, 0.1)]))
        if random.random() < 0.5:
            _reset_at_close(stream)


async def oversized(port: int) -> None:
    """Exceed a limit of the server, or of the announced length."""
    head = b"HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    request, statuses = random.choice(
        [
            (b"GET /hello " + head + b"x-long: " + b"x" * 1_000_000 + b"\r\n\r\n", (400, 431)),
            (b"GET /hello " + head + b"x-one-of-many: 1\r\n" * 50_000 + b"\r\n", (400, 431)),
            (b"GET /" + b"x" * 200_000 + b" " + head + b"\r\n", (400, 414, 431)),
            (b"POST /hello " + head + b"content-length: 3000000\r\n\r\n" + bytes(3_000_000), (200,)),
            (b"POST /echo " + head + b"content-length: 1000000000000000000\r\n\r\n" + BLOCK, (200,)),
            (b"POST /hello " + head + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n", (200, 400)),
        ]
    )
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        answered = await _exchange(stream, request)
    # The server may reset the connection before this client has read the response.
    assert not answered or int(answered.split()[1]) in statuses, answered[:100]


async def half_open(port: int) -> None:
    """Open connections without traffic, or with traffic in one direction. The server must end some of them."""
    head = b"HTTP/1.1\r\nhost: localhost\r\n\r\n"
    kind = random.choice(["silent", "half a head", "reads nothing", "sends no more"])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        if kind == "silent":
            assert await stream.receive_some() == b"", "an answer to nothing"
        elif kind == "half a head":
            await stream.send_all(b"GET /hello HTTP/1.1\r\nhost: loc")
            await trio.sleep(random.uniform(0, 2))
        elif kind == "reads nothing":
            await stream.send_all(b"GET /flood " + head)
            await trio.sleep(random.uniform(0, 2))
        else:
            await stream.send_all(b"GET /sleep?ms=100 " + head)
            await stream.send_eof()
            while await _receive(stream):
                pass
            return
        _reset_at_close(stream)


async def _exchange(stream: trio.SocketStream, request: bytes) -> bytes:
    """Return the first response data, while the request is sent for as long as the server accepts it."""
    answer = b""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                await stream.send_all(request)
            except trio.BrokenResourceError:
                return  # the server has responded and does not read the rest

        nursery.start_soon(send)
        answer = await _receive(stream)
        nursery.cancel_scope.cancel()
    return answer


async def _receive(stream: trio.SocketStream) -> bytes:
    """Return the next bytes, or none if the connection has ended in any way."""
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


def _reset_at_close(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


#: the exceptions with which a visit may fail
FAILURES = (
    AssertionError,
    OSError,
    trio.BrokenResourceError,
    trio.TooSlowError,
    h2.exceptions.StreamClosedError,
    h11.RemoteProtocolError,
)

#: the number of concurrent clients of each kind, and the maximum seconds between the visits of one client
HEALTHY: dict[str, tuple[Visit, int, float]] = {
    "fast": (fast, 2, 0.1),
    "echoing": (echoing, 1, 0.1),
    "slow": (slow, 2, 0.1),
    "multiplexed": (multiplexed, 1, 0.2),
}
UNHEALTHY: dict[str, tuple[Visit, int, float]] = {
    "trapping": (trapping, 1, 0.2),
    "spinning": (spinning, 1, 2.0),
    "late": (late, 1, 0.5),
    "leaving": (leaving, 2, 0.05),
    "oversized": (oversized, 1, 0.5),
    "half-open": (half_open, 1, 0.5),
}
#: clients of guests that hoard
HOARDERS: dict[str, tuple[Visit, int, float]] = {
    "surviving": (surviving, 2, 0.1),
    "hoarding": (hoarding, 2, 0.2),
    "half-open": (half_open, 1, 0.5),
}
#: unhealthy kinds that end the other requests of their instance
CONTAGIOUS = ("trapping", "spinning")
