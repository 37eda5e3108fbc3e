"""The case of field names on the wire: over HTTP/1 as the guest first spelled them, over HTTP/2 in lower case."""

from __future__ import annotations

import trio

from tests.e2e.ways import BOTH, http2
from tests.guests.build import build
from wasi_trio.testing import server

PATH = "/names?X-Mixed-Case=1&lower=2&X-MIXED-CASE=3"


@BOTH
async def test_over_http1(guest: str) -> None:
    async with server(build(guest)) as live, await trio.open_tcp_stream("127.0.0.1", live.port) as stream:
        await stream.send_all(f"GET {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        received = b"".join([piece async for piece in stream])
    head = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = [line.partition(b":")[0] for line in head if line.lower().startswith((b"x-mixed", b"lower"))]
    assert names == [b"X-Mixed-Case", b"lower", b"X-Mixed-Case"]


@BOTH
async def test_over_http2(guest: str) -> None:
    async with http2(guest) as ask:
        got = await ask("GET", PATH)
        assert {"x-mixed-case", "lower"} <= got.headers.keys()


async def test_trailers_over_http1() -> None:
    request = "GET /ordered?body=12345&do=btd HTTP/1.1\r\nhost: x\r\nconnection: close\r\nte: trailers\r\n\r\n"
    async with server(build("python_p3")) as live, await trio.open_tcp_stream("127.0.0.1", live.port) as stream:
        await stream.send_all(request.encode())
        received = b"".join([piece async for piece in stream])
    assert received.endswith(b"0\r\nX-Trailer: value\r\n\r\n")
