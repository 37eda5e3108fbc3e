"""Content over HTTP/1: complete, in order, and assigned to the right request."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import Any

import h11
import pytest
import trio
import trio.testing

from tests.serve.support import Answering, connect, guest, read_to_end, read_until, serving
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.wasi.http._body import CAPACITY, Body, BodyClosed
from wasi_trio.wasi.http._messages import Response

SIZE = 3_000_000
#: Data in which all parts differ.
CONTENT = b"".join(struct.pack(">I", number) for number in range(SIZE // 4))


def framed(content: bytes, *, chunk: int | None, path: bytes = b"/", trailers: bytes = b"", more: bytes = b"") -> bytes:
    """Return a request with this content, in chunks of this size, or with its length."""
    head = b"POST " + path + b" HTTP/1.1\r\nhost: x\r\n" + more
    if chunk is None:
        return head + b"content-length: %d\r\n\r\n%b" % (len(content), content)
    sent = [head + b"transfer-encoding: chunked\r\n\r\n"]
    for start in range(0, len(content), chunk):
        piece = content[start : start + chunk]
        sent.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return b"".join([*sent, b"0\r\n", trailers, b"\r\n"])


class Answers:
    """The responses on a connection, one at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.left = b""

    async def next(self) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Return the next response's status, content and trailers."""
        protocol = h11.Connection(h11.CLIENT)
        protocol.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
        protocol.send(h11.EndOfMessage())
        if self.left:
            protocol.receive_data(self.left)
        status, content = 0, []
        while True:
            event: Any = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await self.stream.receive_some(1 << 20))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                content.append(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.left = protocol.trailing_data[0]
                return status, b"".join(content), list(event.headers)


@pytest.mark.parametrize("chunk", [None, 1 << 16, 1 << 20, 4097, 10])
@pytest.mark.parametrize("name", ["echo", "p3_echo", "p3_echo_through"])
async def test_pipelined_requests(name: str, chunk: int | None) -> None:
    """The end of one request arrives together with the start of the next."""
    content = CONTENT if chunk != 10 else CONTENT[:300_000]
    async with ProxyHandler(guest(name)) as handler, serving(HandlerService(handler)) as port:
        async with await connect(port) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, 3 * framed(content, chunk=chunk))
            answers = Answers(stream)
            for _ in range(3):
                assert await answers.next() == (200, content, [])
        with trio.fail_after(30):
            while handler.active:
                await trio.lowlevel.checkpoint()


async def test_trailers_after_large_content() -> None:
    request = framed(CONTENT, chunk=1 << 16, trailers=b"x-sent: 1\r\n", more=b"te: trailers\r\n")
    async with (
        ProxyHandler(guest("p3_echo_through")) as handler,
        serving(HandlerService(handler)) as port,
        await connect(port) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(stream.send_all, 2 * request)
        answers = Answers(stream)
        for _ in range(2):
            assert await answers.next() == (200, CONTENT, [(b"x-sent", b"1")])


@pytest.mark.parametrize("chunk", [None, 1 << 16])
async def test_content_read_by_a_task(chunk: int | None) -> None:
    async def answer(exchange: Exchange) -> None:
        body = exchange.request.body
        content = b""
        while pieces := await body.receive_pieces():
            content += b"".join(pieces)
        exchange.respond(Response(200, [], Body.of(content)))

    async with trio.open_nursery() as nursery:
        service = Answering(lambda exchange: nursery.start_soon(answer, exchange))
        async with serving(service) as port, await connect(port) as stream:
            nursery.start_soon(stream.send_all, 2 * framed(CONTENT, chunk=chunk))
            answers = Answers(stream)
            for _ in range(2):
                assert await answers.next() == (200, CONTENT, [])


async def test_malformed_chunks_in_the_middle() -> None:
    """The response ends at the end of the malformed request, and so does the connection."""
    request = framed(CONTENT, chunk=1 << 16).removesuffix(b"\r\n0\r\n\r\n") + b"no line end"
    async with ProxyHandler(guest("p3_echo")) as handler, serving(HandlerService(handler)) as port:
        async with await connect(port) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, request)
            received = b""
            with pytest.raises(trio.BrokenResourceError):
                while piece := await stream.receive_some():
                    received += piece
            assert received.startswith(b"HTTP/1.1 200")
            assert not received.endswith(b"0\r\n\r\n")
        with trio.fail_after(30):
            while handler.active:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("chunk", [None, 1 << 16])
async def test_unread_content_is_received(chunk: int | None) -> None:
    """The guest has begun its response, and dropped the request."""
    async with (
        ProxyHandler(guest("p3_endless_body")) as handler,
        serving(HandlerService(handler)) as port,
        await connect(port) as stream,
    ):
        with trio.fail_after(30):
            await stream.send_all(framed(CONTENT, chunk=chunk))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_clients_that_leave_at_any_moment() -> None:
    """The clients leave at all stages of their requests."""
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
    async with ProxyHandler(guest("p3_echo")) as handler, serving(HandlerService(handler)) as port:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for turns in range(400):
            async with await connect(port) as stream:
                await stream.send_all(head + bytes(17_000))
                for _ in range(turns % 20):
                    await trio.lowlevel.checkpoint()
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with trio.fail_after(10):
            while handler.active or trio.lowlevel.current_statistics().tasks_living > before:
                await trio.lowlevel.checkpoint()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not report an end behind unread data")
@pytest.mark.parametrize("linger", [None, 0])
async def test_a_client_that_leaves_with_an_unread_request(linger: int | None) -> None:
    async with ProxyHandler(guest("sleep")) as handler, serving(HandlerService(handler)) as port:
        async with await connect(port) as stream:
            # More than the server reads and the system buffers, so that the end of the client's side stays hidden.
            await stream.send_all(framed(bytes(2_000_000), chunk=None, path=b"/3600000")[:540_000])
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert handler.active == 1
            if linger is not None:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
        with trio.fail_after(30):
            while handler.active:
                await trio.lowlevel.checkpoint()


async def test_a_client_that_waits_for_100_continue() -> None:
    async with (
        ProxyHandler(guest("p3_echo")) as handler,
        serving(HandlerService(handler)) as port,
        await connect(port) as stream,
    ):
        head, separator, content = framed(CONTENT, chunk=None, more=b"expect: 100-continue\r\n").partition(b"\r\n\r\n")
        with trio.fail_after(30):
            await stream.send_all(head + separator)
            # The response may begin at once, but 100 Continue must come first.
            received = await stream.receive_some()
            assert received.startswith(b"HTTP/1.1 100")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, content)
                answers = Answers(stream)
                answers.left = received.partition(b"\r\n\r\n")[2]
                assert await answers.next() == (200, CONTENT, [])


async def test_a_fast_writer_does_not_starve_other_requests() -> None:
    """Its content is sent in its own host functions, where it never has to wait."""

    def read_all(client: socket.socket) -> None:
        with suppress(ConnectionResetError):  # because it ends within the response
            while client.recv(1 << 20):
                pass

    async with (
        ProxyHandler(guest("p3_endless_body")) as handler,
        # The instance's number of concurrent requests. Abandoned requests must not count.
        serving(HandlerService(handler), half_closed_timeout=0.0) as port,
    ):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
            await trio.to_thread.run_sync(client.recv, 1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, read_all, client)
                for _ in range(20):
                    async with await connect(port) as stream:
                        await stream.send_all(b"GET /0 HTTP/1.1\r\nhost: x\r\n\r\n")
                        assert await read_until(stream, b"begun\n")
                client.shutdown(socket.SHUT_RDWR)
        assert handler.started == 1


@pytest.mark.parametrize(("declared", "whole"), [(SIZE, True), (SIZE - 1, False), (SIZE + 1, False)])
async def test_the_length_of_a_response_written_at_once_is_checked(declared: int, whole: bool) -> None:
    """The guest writes without pausing while space is left."""
    at_once = 0

    async def answer(exchange: Exchange) -> None:
        nonlocal at_once
        body = Body()
        body.try_write(CONTENT[:1000])
        exchange.respond(Response(200, [("content-length", b"%d" % declared)], body))
        await trio.testing.wait_all_tasks_blocked()  # until that is sent
        left = memoryview(CONTENT)[1000:]
        with suppress(BodyClosed):
            while left and body.permit():
                left = left[body.try_write(left[:60_000]) :]
            at_once = len(CONTENT) - len(left)
            await body.send_all(left)
        body.finish()

    async with trio.open_nursery() as nursery:
        service = Answering(lambda exchange: nursery.start_soon(answer, exchange))
        async with serving(service) as port, await connect(port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            received = await read_to_end(stream)
    content = received.partition(b"\r\n\r\n")[2]
    assert CONTENT.startswith(content)
    assert (len(content) == declared) == whole
    (exchange,) = service.exchanges
    assert exchange.abandoned is not whole, "it is cancelled where the response is cut"
    assert at_once > 2 * CAPACITY, "no more than its body holds, so nothing was sent meanwhile"
