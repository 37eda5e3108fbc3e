"""Guests behind the real server, as clients see them on the wire."""

from __future__ import annotations

import math
import os
import re
import socket
import struct
from contextlib import AsyncExitStack, suppress
from typing import Any

import h2.events
import httpx
import pytest
import trio
import trio.testing

from tests.guests import wat
from tests.serve.support import (
    Answering,
    Http2,
    ask,
    connect,
    engine,
    get,
    guest,
    read_to_end,
    read_until,
    serving,
    serving_guest,
)
from wasi_trio.component._imports import Imports
from wasi_trio.serve._listening import address_of, bind
from wasi_trio.serve._loading import link
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._limits import ConnectionLimits
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.http._stream import HttpStream, ResponseContent, ResponseHead
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Response

#: The preface of HTTP/2.
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
HALF_MEGABYTE = bytes(range(256)) * 2048


def http2() -> httpx.AsyncClient:
    """Return a client that begins with HTTP/2, because it cannot negotiate without TLS."""
    return httpx.AsyncClient(http1=False, http2=True, trust_env=False, timeout=30)


def http1() -> httpx.AsyncClient:
    """Return a client with one connection."""
    return httpx.AsyncClient(trust_env=False, timeout=30, limits=httpx.Limits(max_connections=1))


async def test_hello() -> None:
    async with serving_guest("hello") as port, http1() as client:
        response = await client.get(f"http://127.0.0.1:{port}/")
    assert response.status_code == 200
    assert response.text == "Hello, world!\n"
    (date,) = response.headers.get_list("date")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert "server" not in response.headers


async def test_successive_requests_on_a_connection() -> None:
    async with (
        serving_guest("counter", HandlerOptions(max_instance_reuse_count=3)) as port,
        http1() as client,
    ):
        counts = [(await client.get(f"http://127.0.0.1:{port}/")).text for _ in range(4)]
    assert counts == ["1\n", "2\n", "3\n", "1\n"]


async def test_echo_over_http1() -> None:
    async with serving_guest("echo") as port, http1() as client:
        response = await client.post(f"http://127.0.0.1:{port}/", content=HALF_MEGABYTE)
        assert response.content == HALF_MEGABYTE

        async def chunks() -> Any:
            for start in range(0, len(HALF_MEGABYTE), 1 << 16):
                yield HALF_MEGABYTE[start : start + (1 << 16)]

        response = await client.post(f"http://127.0.0.1:{port}/", content=chunks())
        assert response.content == HALF_MEGABYTE


async def test_echo_over_http2() -> None:
    async with serving_guest("echo") as port, http2() as client:
        response = await client.post(f"http://127.0.0.1:{port}/", content=HALF_MEGABYTE)
    assert response.http_version == "HTTP/2"
    assert response.content == HALF_MEGABYTE


async def test_head() -> None:
    async with serving_guest("hello") as port:
        head, _, content = (await get(port, method="HEAD")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert content == b""


@pytest.mark.parametrize("name", ["trap", "no_response", "exit", "trap_after_headers", "trap_in_start"])
async def test_a_failing_guest(name: str) -> None:
    async with serving_guest(name) as port:
        for _ in range(2):
            head, _, content = (await get(port)).partition(b"\r\n\r\n")
            if name == "trap_after_headers" and head.startswith(b"HTTP/1.1 200"):
                # The guest was interrupted just before its trap, and the start of its response was sent.
                assert not content.endswith(b"0\r\n\r\n")
                continue
            assert re.match(rb"HTTP/1.1 50[03] ", head)
            assert int(re.search(rb"content-length: (\d+)", head)[1]) == len(content)  # type: ignore[index]


async def test_the_connection_survives_a_failing_guest() -> None:
    async with serving_guest("trap") as port, await connect(port) as stream:
        for _ in range(3):
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await read_until(stream, b"Internal Server Error\n")).startswith(b"HTTP/1.1 500")


async def test_a_request_timeout() -> None:
    async with serving_guest("sleep", HandlerOptions(request_timeout=0.05)) as port:
        assert (await get(port, "/3600000")).startswith(b"HTTP/1.1 504")


# ---- responses on the wire -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_head", "response", "sent"),
    [
        (
            b"GET / HTTP/1.1\r\nhost: x\r\n",
            Response(201, [("X-A", b"1"), ("x-a", b"2")], Body.of(b"hello")),
            b"HTTP/1.1 201 Created\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
        (
            b"HEAD / HTTP/1.1\r\nhost: x\r\n",
            Response(200, [("content-length", b"99")], Body.of(b"hello")),
            b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nhost: x\r\n",
            Response(204, [], Body.empty()),
            b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nhost: x\r\nte: trailers\r\n",
            Response(200, [], Body.of(b"hello", [("X-T", b"2")])),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            b"5\r\nhello\r\n0\r\nX-T: 2\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1\r\nhost: x\r\n",
            Response(200, [], Body.of(b"hello", [("X-T", b"2")])),
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
        (
            b"GET / HTTP/1.0\r\nte: trailers\r\n",
            Response(200, [], Body.of(b"hello", [("X-T", b"2")])),
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        ),
    ],
)
async def test_a_whole_response(request_head: bytes, response: Response, sent: bytes) -> None:
    async with serving(Answering(lambda exchange: exchange.respond(response))) as port:
        assert await ask(port, request_head + b"connection: close\r\n\r\n") == sent


async def test_the_limit_of_requests_on_a_connection() -> None:
    async with serving_guest("hello", max_requests=2) as port, await connect(port) as stream:
        await stream.send_all(3 * b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        received = await read_to_end(stream)
    assert received.count(b"Hello, world!\n") == 2
    assert received.count(b"connection: close\r\n") == 1


# ---- responses that are cut ----------------------------------------------------------------------------------


class Breaking(Answering):
    """Begins responses with content, and cuts them when told to."""

    def __init__(self, *headers: tuple[str, bytes]) -> None:
        super().__init__(self._begin)
        self.headers = list(headers)
        self.bodies: list[Body] = []

    def _begin(self, exchange: Exchange) -> None:
        body = Body()
        body.try_write(b"begun")
        self.bodies.append(body)
        exchange.respond(Response(200, self.headers, body))

    def break_off(self) -> None:
        for body in self.bodies:
            body.abort(HttpError("internal-error", "broken"))


async def test_a_chunked_response_is_cut() -> None:
    service = Breaking()
    async with serving(service) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, b"begun\r\n")
        service.break_off()
        assert await read_to_end(stream) == b""


async def test_a_response_with_a_length_is_cut() -> None:
    service = Breaking(("content-length", b"100"))
    async with serving(service) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, b"begun")
        service.break_off()
        assert await read_to_end(stream) == b""


async def test_a_response_that_ends_with_the_connection_is_cut() -> None:
    service = Breaking()
    async with serving(service) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        await read_until(stream, b"begun")
        service.break_off()
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(stream)


async def test_a_cut_http2_response_does_not_end_the_connection() -> None:
    service = Breaking()
    async with serving(service) as port, http2() as client:
        for _ in range(2):
            async with client.stream("GET", f"http://127.0.0.1:{port}/") as response:
                chunks = response.aiter_bytes()
                assert await anext(chunks) == b"begun"
                service.break_off()
                with pytest.raises(httpx.RemoteProtocolError, match="StreamReset"):
                    await anext(chunks)


# ---- clients that leave, or send too much -------------------------------------------------------------------


async def test_a_client_that_leaves_frees_the_instance() -> None:
    for name, path in [("sleep", b"/3600000"), ("endless_body", b"/"), ("endless_body", b"/1"), ("spin", b"/")]:
        async with ProxyHandler(guest(name)) as handler, serving(HandlerService(handler)) as port:
            async with await connect(port) as stream:
                await stream.send_all(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
                while not handler.active:
                    await trio.lowlevel.checkpoint()
            with trio.fail_after(30):
                while handler.active:
                    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("name", "path"), [("hello", ""), ("trap", ""), ("dropped_body", ""), ("sleep", "100")])
async def test_a_large_request_that_is_not_read(name: str, path: str) -> None:
    request = b"POST /" + path.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n"
    async with serving_guest(name) as port, await connect(port) as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                await stream.send_all(request + bytes(4_000_000))
            except trio.BrokenResourceError:
                return  # the server has responded, and refuses the rest

        nursery.start_soon(send)
        with trio.fail_after(30):
            assert re.match(rb"HTTP/1.1 [25]00 ", await stream.receive_some())


async def test_a_client_that_neither_reads_nor_stops_sending_and_leaves() -> None:
    """Its request fills all queues, and so does the response. Only the failure to send shows that it has left."""
    async with ProxyHandler(guest("endless_body")) as handler, serving(HandlerService(handler)) as port:
        async with await connect(port) as stream:
            await stream.send_all(b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
            with trio.move_on_after(0.5):
                await stream.send_all(bytes(100_000_000))
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with trio.fail_after(30):
            while handler.active:
                await trio.lowlevel.checkpoint()


async def test_a_client_that_cuts_its_request_during_the_response(caplog: pytest.LogCaptureFixture) -> None:
    """The guest continues to write while the connection closes, which is not an error."""
    async with (
        ProxyHandler(guest("echo")) as handler,
        serving(HandlerService(handler), half_closed_timeout=0.0) as port,
    ):
        for size in range(100):
            async with await connect(port) as stream:
                await stream.send_all(
                    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + bytes(size * 1000)
                )
                await stream.send_eof()
                with suppress(trio.BrokenResourceError):  # unread data may turn the end into a reset
                    await read_to_end(stream)
        with trio.fail_after(30):
            while handler.active:
                await trio.lowlevel.checkpoint()
    assert "ended with an error" not in caplog.text


class Holds:
    """acme:host/work, whose ``later`` waits until it is released."""

    def __init__(self) -> None:
        self.let_go = trio.Event()

    def work(self, which: int) -> None:
        raise AssertionError("no test asks for it")

    async def later(self, which: int) -> None:
        await self.let_go.wait()


async def test_a_client_that_leaves_with_unread_pipelined_data() -> None:
    """The failure to send shows it first, in a task that no other task may wait for."""
    work = Holds()
    linked = link(engine(), wat.load("host_call"), "host_call", Imports({"acme:host/work": work}))
    async with ProxyHandler(linked) as handler, serving(HandlerService(handler)) as port:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        async with await connect(port) as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(b"POST /100 HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
                await stream.send_all(bytes(100_000_000))

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.1)
            nursery.cancel_scope.cancel()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        work.let_go.set()
        with trio.fail_after(30):
            while trio.lowlevel.current_statistics().tasks_living > before:
                await trio.lowlevel.checkpoint()


# ---- the server ----------------------------------------------------------------------------------------------


async def test_connections_beyond_the_limit_wait() -> None:
    async with (
        serving_guest("hello", max_connections=1, keep_alive_timeout=math.inf) as port,
        await connect(port) as first,
    ):
        await first.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(first, b"Hello, world!")
        async with await connect(port) as second:
            await second.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked(0.05)
            await first.aclose()
            assert b"Hello, world!" in await read_to_end(second)


async def test_stopping_answers_active_requests_and_closes_idle_connections() -> None:
    stop = trio.Event()
    service = Answering()
    listener = bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(service).run, [listener], stop)
        async with await connect(port) as idle, await connect(port) as busy:
            await busy.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            while not service.exchanges:
                await trio.lowlevel.checkpoint()
            stop.set()
            assert await read_to_end(idle) == b""
            with pytest.raises(OSError, match="connect"):
                await connect(port)
            service.exchanges[0].respond(Response(200, [], Body.of(b"ok")))
            assert (await read_to_end(busy)).endswith(b"ok")


async def test_stopping_closes_a_connection_with_pipelined_requests() -> None:
    """The active request is answered. Pipelined requests that were not read yet are not."""
    stop = trio.Event()
    async with ProxyHandler(guest("sleep")) as handler:
        listener = bind(("127.0.0.1", 0))
        async with await connect(listener.getsockname()[1]) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(Server(HandlerService(handler)).run, [listener], stop)
            await stream.send_all(b"GET /100 HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
            while not handler.active:
                await trio.lowlevel.checkpoint()
            stop.set()
            with trio.fail_after(30):
                assert (await read_to_end(stream)).count(b"slept\n") == 1
                while nursery.child_tasks:
                    await trio.lowlevel.checkpoint()


async def test_stopping_closes_an_http2_connection_after_its_requests() -> None:
    stop = trio.Event()
    async with ProxyHandler(guest("sleep")) as handler:
        listener = bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with http2() as client, trio.open_nursery() as nursery:
            nursery.start_soon(Server(HandlerService(handler)).run, [listener], stop)
            assert (await client.get(f"{url}/0")).text == "slept\n"

            async def stop_during_request() -> None:
                while not handler.active:
                    await trio.lowlevel.checkpoint()
                stop.set()

            nursery.start_soon(stop_during_request)
            with trio.fail_after(30):
                assert (await client.get(f"{url}/100")).text == "slept\n"
        # Both blocks have ended: the connection did not keep the server running.


@pytest.mark.parametrize(
    ("data", "answer"), [(b"", b""), (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"204"), (HTTP2, b"\x04")]
)
async def test_an_idle_connection_is_closed(data: bytes, answer: bytes, mock_clock: trio.testing.MockClock) -> None:
    def service(stream: HttpStream) -> None:
        stream.send_whole(ResponseHead(204, [], bodiless=True), b"", None)

    async with serving(service, keep_alive_timeout=0.05) as port, await connect(port) as stream:
        await stream.send_all(data)
        if answer:
            await read_until(stream, answer)
        mock_clock.rate = 1  # until now no timeout passes
        await read_to_end(stream)


async def test_requests_that_arrive_during_a_standstill_are_answered(mock_clock: trio.testing.MockClock) -> None:
    def service(stream: HttpStream) -> None:
        stream.send_whole(ResponseHead(204, [], bodiless=True), b"", None)

    async with serving(service, keep_alive_timeout=1.0) as port, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(await connect(port)) for _ in range(20)]
        for stream in streams:  # without a checkpoint, so that the server reads none of them yet
            assert os.write(stream.socket.fileno(), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        mock_clock.jump(1.2)  # the process stands still
        for stream in streams:
            await read_until(stream, b"HTTP/1.1 204")


async def test_http2_requests_that_arrive_during_a_standstill_are_answered(mock_clock: trio.testing.MockClock) -> None:
    def service(stream: HttpStream) -> None:
        stream.send_whole(ResponseHead(204, [], bodiless=True), b"", None)

    async with serving(service, keep_alive_timeout=1.0) as port, AsyncExitStack() as stack:
        clients = [Http2(await stack.enter_async_context(await connect(port))) for _ in range(20)]
        for client in clients:
            await client.until(h2.events.ResponseReceived, await client.ask("/"))
        for client in clients:  # without a checkpoint, so that the server reads none of them yet
            client.protocol.send_headers(
                3, [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")], True
            )
            data = client.protocol.data_to_send()
            assert os.write(client.stream.socket.fileno(), data) == len(data)
        mock_clock.jump(1.2)  # the process stands still
        for client in clients:
            await client.until(h2.events.ResponseReceived, 3)


async def test_unread_data_spares_a_connection_once(nursery: trio.Nursery, mock_clock: trio.testing.MockClock) -> None:
    """The server may check its connections before their tasks have read."""

    def service(stream: HttpStream) -> None:
        stream.send_whole(ResponseHead(204, [], bodiless=True), b"", None)

    listener = bind(("127.0.0.1", 0))
    serving = Server(service, limits=ConnectionLimits(keep_alive_timeout=1.0))
    nursery.start_soon(serving.run, [listener], trio.Event())
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    async with await connect(listener.getsockname()[1]) as stream:
        await stream.send_all(request)
        await read_until(stream, b"HTTP/1.1 204")
        for checks in (1, 2):
            (connection,) = serving._connections
            connection.deadline = trio.current_time()
            assert os.write(stream.socket.fileno(), request)  # without a checkpoint, so that the task does not read it
            for _ in range(checks):
                connection.check(trio.current_time())
            if checks == 1:
                await read_until(stream, b"HTTP/1.1 204")
        assert await read_to_end(stream) == b""
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cut", [3, 18, 20, len(HTTP2)])
async def test_stopping_closes_an_http2_connection_without_a_request(cut: int) -> None:
    stop = trio.Event()
    async with ProxyHandler(guest("hello")) as handler:
        listener = bind(("127.0.0.1", 0))
        async with await connect(listener.getsockname()[1]) as stream, trio.open_nursery() as nursery:
            server = Server(HandlerService(handler), limits=ConnectionLimits(keep_alive_timeout=math.inf))
            nursery.start_soon(server.run, [listener], stop)
            await stream.send_all(HTTP2[:cut])
            await trio.testing.wait_all_tasks_blocked(0.01)
            await stream.send_all(HTTP2[cut:])
            assert await stream.receive_some()
            await trio.testing.wait_all_tasks_blocked()
            stop.set()
            with trio.fail_after(30):
                await read_to_end(stream)


async def test_cancelling_closes_a_connection_blocked_in_sending() -> None:
    listener = bind(("127.0.0.1", 0))

    def service(stream: HttpStream) -> None:
        async def send() -> None:
            stream.send_head(ResponseHead(200, []), ResponseContent(Body(), None))
            while True:
                await stream.send_pieces([bytes(1 << 20)])

        stream.send_later(send)

    async with await connect(listener.getsockname()[1]) as stream:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Server(service).run, [listener], trio.Event())
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.cancel_scope.cancel()


async def test_a_client_that_breaks_the_protocol_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    # HTTP/2: content for a stream that was never opened.
    content = b"\0\0\1\0\0\0\0\0\1x"
    async with serving_guest("hello") as port:
        for junk in [b"\0" * 100, b"GET / HTTP/9\r\n\r\n", HTTP2 + content]:
            await ask(port, junk)
        assert b"Hello, world!" in await get(port)
    assert not caplog.records


async def test_a_websocket_request_is_an_ordinary_request() -> None:
    """A server may ignore an upgrade (RFC 9110, section 7.8), and wasi:http does not support it."""
    upgrade = "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: " + "A" * 24
    request = "\r\n".join(["GET / HTTP/1.1", "host: x", *upgrade, "", ""]).encode()
    async with serving_guest("hello") as port, await connect(port) as stream:
        for _ in range(2):
            await stream.send_all(request)
            assert (await read_until(stream, b"Hello, world!\n")).startswith(b"HTTP/1.1 200")


async def test_a_half_closed_client_gets_its_response() -> None:
    service = Answering()
    async with serving(service, half_closed_timeout=30.0) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream.send_eof()
        await trio.testing.wait_all_tasks_blocked(0.05)
        (exchange,) = service.exchanges
        assert not exchange.abandoned
        exchange.respond(Response(200, [], Body.of(b"answer")))
        assert (await read_to_end(stream)).endswith(b"answer")


async def test_the_timeout_of_a_half_closed_client(mock_clock: trio.testing.MockClock) -> None:
    service = Answering()
    async with serving(service, half_closed_timeout=30.0) as port, await connect(port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream.send_eof()
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(29)
        await trio.testing.wait_all_tasks_blocked(0.05)
        (exchange,) = service.exchanges
        assert not exchange.abandoned
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert exchange.abandoned
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(stream)


def test_addresses() -> None:
    with bind(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener) == f"127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            bind(("127.0.0.1", port))
    if socket.has_ipv6:
        with bind(("::1", 0)) as listener:
            assert address_of(listener).startswith("[::1]:")


async def test_a_malformed_request_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wasi_trio")
    async with serving_guest("hello") as port:
        async with await connect(port) as stream:
            await stream.send_all(b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        async with await connect(port) as stream:
            client = Http2(stream)
            fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "no path")]
            client.protocol.send_headers(1, fields, end_stream=True)
            await client.flush()
            while not any(isinstance(event, h2.events.StreamReset) for event in await client.receive()):
                pass
    lines = [record for record in caplog.records if "Refused a malformed request" in record.getMessage()]
    assert [record.levelname for record in lines] == ["INFO", "INFO"]
    assert lines[0].getMessage().startswith("Refused a malformed request of 127.0.0.1 (400): ")
