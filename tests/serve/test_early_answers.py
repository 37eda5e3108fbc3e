"""Responses before the end of the request: the connection stays open, or its close is announced."""

from __future__ import annotations

import functools
import os

import pytest
import trio
import trio.testing

from tests.serve.support import Answering, Http2, connect, guest, read_to_end, read_until, server, serving
from wasi_trio.serve._listening import bind
from wasi_trio.serve.http._stream import HttpStream, ResponseContent, ResponseHead
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import Body, BodyClosed
from wasi_trio.wasi.http._messages import Request, Response

LARGE = 1_000_000


class Guest:
    """Responds in parts. It first reads ``reads`` bytes of content, and keeps or drops the rest of the request."""

    def __init__(self, reads: int = 0, drops: bool = False) -> None:
        self._reads = reads
        self._drops = drops

    def __call__(self, stream: HttpStream) -> None:
        body = stream.request.body
        if not body.finished:
            stream.receive_into(body)
        stream.send_later(functools.partial(self._answer, stream))

    async def _answer(self, stream: HttpStream) -> None:
        body = stream.request.body
        read = 0
        while read < self._reads:
            read += len(await body.receive_some(self._reads - read))
        if self._drops:
            body.close()
        content = Body()
        stream.send_head(ResponseHead(200, []), ResponseContent(content, None))
        await stream.send_pieces([stream.request.method.encode()])
        await stream.end(None)


def post(length: int | None) -> bytes:
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"POST / HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n"


@pytest.mark.parametrize("guest", [Guest(), Guest(drops=True), Guest(reads=5, drops=True)])
@pytest.mark.parametrize("length", [LARGE, None])
async def test_the_close_is_announced_if_much_content_may_follow(guest: Guest, length: int | None) -> None:
    async with serving(guest) as port, await connect(port) as stream:
        await stream.send_all(post(length) + (b"5\r\nfirst\r\n" if length is None else b"first"))
        assert b"connection: close\r\n" in await read_to_end(stream)


@pytest.mark.parametrize("length", [5, 64 << 10])
@pytest.mark.parametrize("guest", [Guest(), Guest(drops=True)])
async def test_short_content_is_dropped(guest: Guest, length: int) -> None:
    async with serving(guest) as port, await connect(port) as stream:
        await stream.send_all(post(length))
        assert b"connection: close" not in await read_until(stream, b"0\r\n\r\n")
        await stream.send_all(bytes(length) + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, b"GET")


async def test_short_content_that_never_arrives_ends_the_connection() -> None:
    async with serving(Guest(), keep_alive_timeout=0.05) as port, await connect(port) as stream:
        await stream.send_all(post(5))
        with trio.fail_after(30):
            await read_to_end(stream)


@pytest.mark.parametrize("length", [LARGE, None])
async def test_a_reading_guest_keeps_the_connection(length: int | None) -> None:
    """An example is an echo, whose response begins in the middle of the request."""
    content = bytes(LARGE)
    async with serving(Echo()) as port, await connect(port) as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(post(length))
            framed = content if length else b"%x\r\n%b\r\n0\r\n\r\n" % (LARGE, content)
            await stream.send_all(framed)

        nursery.start_soon(send)
        received = await read_until(stream, b"0\r\n\r\n")
        assert b"connection: close" not in received
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"connection: close" not in await read_until(stream, b"0\r\n\r\n")


class Echo(Guest):
    async def _answer(self, stream: HttpStream) -> None:
        body, content = stream.request.body, Body()
        stream.send_head(ResponseHead(200, []), ResponseContent(content, None))
        try:
            while data := await body.receive_some(65536):
                await stream.send_pieces([b"x" * len(data)])
            await stream.end(None)
        except BodyClosed:
            return


class Late(Guest):
    """Takes the content, but reads only after the head of its response, as guests of a busy server do."""

    def __init__(self) -> None:
        super().__init__()
        self.reads_on = trio.Event()

    async def _answer(self, stream: HttpStream) -> None:
        body = stream.request.body
        body.wanted = True
        stream.send_head(ResponseHead(200, []), ResponseContent(Body(), None))
        await stream.send_pieces([b"begun"])
        await self.reads_on.wait()
        while await body.receive_some():
            pass
        await stream.end(None)


@pytest.mark.parametrize("length", [LARGE, None])
async def test_a_guest_that_has_taken_the_content_keeps_the_connection(length: int | None) -> None:
    late = Late()
    framed = bytes(LARGE) if length else b"%x\r\n%b\r\n0\r\n\r\n" % (LARGE, bytes(LARGE))
    async with serving(late) as port, await connect(port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, 2 * (post(length) + framed))
        assert b"connection: close" not in await read_until(stream, b"begun\r\n")
        late.reads_on.set()
        received = await read_until(stream, b"begun\r\n0\r\n\r\n")
        assert received.startswith(b"0\r\n\r\nHTTP/1.1 200 ")


@pytest.mark.parametrize("name", ["echo", "p3_echo"])
async def test_guests_take_the_content_before_they_read(name: str) -> None:
    """The time of their first read depends on the load. The announcement of a close must not."""
    request = Request("POST", "http", "x", "/echo", [], Body())
    async with ProxyHandler(guest(name)) as handler:
        response = await handler.handle(request)
        assert request.body.wanted
        request.body.finish()
        assert await response.body.receive_some() == b""


async def test_no_100_continue_for_unwanted_content() -> None:
    async with serving(Guest(drops=True)) as port, await connect(port) as stream:
        await stream.send_all(post(5).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n"))
        received = await read_to_end(stream)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in received


# ---- the server leaves ---------------------------------------------------------------------------------------


async def test_the_next_response_announces_the_close() -> None:
    leave = trio.Event()
    service = Answering()
    async with serving(service, leave=leave) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        while not service.exchanges:
            await trio.lowlevel.checkpoint()
        leave.set()
        await trio.testing.wait_all_tasks_blocked()
        service.exchanges[0].respond(Response(200, [], Body.of(b"ok")))
        assert b"connection: close\r\n" in await read_to_end(stream)


async def test_an_idle_connection_stays_open_until_the_server_stops() -> None:
    leave, stop = trio.Event(), trio.Event()
    async with serving(Guest(), stop, leave=leave) as port, await connect(port) as idle, await connect(port) as kept:
        leave.set()
        await trio.testing.wait_all_tasks_blocked()
        await kept.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"connection: close\r\n" in await read_to_end(kept)
        async with await connect(port) as fresh:
            await fresh.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"connection: close\r\n" in await read_to_end(fresh)
        stop.set()
        assert await read_to_end(idle) == b""


async def test_requests_received_before_the_stop_are_answered() -> None:
    """The client could not know of the stop, and its request was still in the socket's buffer."""
    listener = bind(("127.0.0.1", 0))
    served = server(Guest())
    async with trio.open_nursery() as nursery, await connect(listener.getsockname()[1]) as stream:
        nursery.start_soon(served.run, [listener], trio.Event())
        await trio.testing.wait_all_tasks_blocked()
        # In one turn of the event loop: the server has not looked at its socket when it is told to stop.
        os.write(stream.socket.fileno(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        served._stop()
        received = await read_to_end(stream)
        nursery.cancel_scope.cancel()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in received


async def frames(stream: trio.SocketStream, kind: int) -> list[tuple[int, int, bytes]]:
    """Return the type, the stream and the content of each frame, up to one of this type."""
    data, found = b"", []
    while True:
        while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3])):
            found.append((data[3], int.from_bytes(data[5:9]), data[9:end]))
            data = data[end:]
            if found[-1][0] == kind:
                return found
        more = await stream.receive_some()
        assert more, found
        data += more


async def test_an_idle_http2_connection_receives_goaway_and_is_still_served() -> None:
    """Requests that were being sent are answered, until the server stops and announces the last stream."""
    leave, stop = trio.Event(), trio.Event()
    async with serving(Guest(), stop, leave=leave) as port, await connect(port) as stream:
        client = Http2(stream)
        assert await client.content(await client.ask("/")) == b"GET"
        # The bytes of a request from h2, before h2 receives the GOAWAY.
        number = client.protocol.get_next_available_stream_id()
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
        client.protocol.send_headers(number, headers, end_stream=True)
        late = client.protocol.data_to_send()
        leave.set()
        with trio.fail_after(30):
            goaway, data = 7, 0
            assert (await frames(stream, goaway))[-1] == (goaway, 0, b"\x7f\xff\xff\xff" + bytes(4))
            await stream.send_all(late)
            assert (await frames(stream, data))[-1] == (data, number, b"GET")
            stop.set()
            assert (await frames(stream, goaway))[-1] == (goaway, 0, number.to_bytes(4) + bytes(4))


async def test_an_http2_connection_opened_while_the_server_leaves() -> None:
    """The client receives GOAWAY after the response to its first request."""
    leave = trio.Event()
    leave.set()
    async with serving(Guest(), leave=leave) as port, await connect(port) as stream:
        await trio.testing.wait_all_tasks_blocked()
        client = Http2(stream)
        await client.ask("/")
        with trio.fail_after(30):
            found = await frames(stream, 7)
        assert [content for kind, _, content in found if kind == 0 and content] == [b"GET"]


async def test_http2_receives_goaway_without_active_requests() -> None:
    leave = trio.Event()
    service = Answering()
    async with serving(service, leave=leave) as port, await connect(port) as stream:
        client = Http2(stream)
        await client.ask("/")
        await client.ask("/")
        while len(service.exchanges) < 2:
            await trio.lowlevel.checkpoint()
        leave.set()
        await trio.testing.wait_all_tasks_blocked()
        for exchange in service.exchanges:
            exchange.respond(Response(200, [], Body.of(b"ok")))
        with trio.fail_after(30):
            found = await frames(stream, 7)
        assert [content for kind, _, content in found if kind == 0 and content] == [b"ok", b"ok"]
