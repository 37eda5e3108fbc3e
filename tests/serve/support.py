"""Shared by the tests of this folder: guests behind a handler, a handler behind a server, and plain sockets."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import hypercorn.trio
import trio
import trio.testing
from hypercorn.config import Config

from tests.guests import wat
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._listening import bind
from wasi_trio.serve._loading import link
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._limits import ConnectionLimits
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.http._stream import HttpStream
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._states import Event
from wasi_trio.wasi.http._messages import Request

Service = Callable[[HttpStream], None]


@functools.cache
def engine() -> Engine:
    return Engine()


@functools.cache
def guest(name: str) -> LinkedComponent:
    """Compile and link a hand-written guest."""
    return link(engine(), wat.load(name), name)


class Answering:
    """A service that sends a test's responses as it would send a guest's.

    ``answer`` receives the exchange of each request in place of a guest. It must respond, at once or later.
    """

    def __init__(self, answer: Callable[[Exchange], None] = lambda exchange: None, **options: Any) -> None:
        #: The exchanges of all requests so far.
        self.exchanges: list[Exchange] = []
        self._answer = answer
        self._service = HandlerService(cast(ProxyHandler, self), **{"adds_date": False, **options})

    def submit(self, request: Request, stream: HttpStream | None = None) -> Exchange:
        exchange = Exchange(request)
        # As when an instance has begun the request.
        exchange.advance(Event.PLACE)
        exchange.advance(Event.BEGIN)
        self.exchanges.append(exchange)
        self._answer(exchange)
        return exchange

    def __call__(self, stream: HttpStream) -> None:
        self._service(stream)


def server(
    service: Service,
    *,
    max_connections: int | None = None,
    fields: Callable[[], list[tuple[bytes, bytes]]] = list,
    **limits: Any,
) -> Server:
    """Return a server for a service. A half-closed client counts as gone, unless the limits say otherwise."""
    limits = {"half_closed_timeout": 0.0, **limits}
    return Server(service, limits=ConnectionLimits(**limits), max_connections=max_connections, fields=fields)


@asynccontextmanager
async def serving(
    service: Service, stop: trio.Event | None = None, *, leave: trio.Event | None = None, **options: Any
) -> AsyncIterator[int]:
    """Serve a service during the block, and yield the port. All connections are closed at the end."""
    listener = bind(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        run = functools.partial(server(service, **options).run, leave=leave)
        nursery.start_soon(run, [listener], trio.Event() if stop is None else stop)
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_asgi(app: Any) -> AsyncIterator[int]:
    """Serve an ASGI application with hypercorn during the block, and yield the port."""
    with bind(("127.0.0.1", 0)) as listener:
        config = Config()
        config.bind = [f"fd://{os.dup(listener.fileno())}"]
        config.errorlog = None
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(hypercorn.trio.serve, app, config, mode="asgi"))
            yield listener.getsockname()[1]
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_guest(name: str, options: HandlerOptions | None = None, **server: Any) -> AsyncIterator[int]:
    """Serve a hand-written guest during the block, and yield the port."""
    async with (
        ProxyHandler(guest(name), options) as handler,
        serving(HandlerService(handler), **server) as port,
    ):
        yield port


async def connect(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, socket.socket]]:
    """Return the two ends of a connection. One end blocks."""
    with bind(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted = trio.socket.from_stdlib_socket(listener.accept()[0])
        async with trio.SocketStream(accepted) as stream:
            yield stream, client


async def read_to_end(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    """Receive up to and including ``end``, which must be the end of all data sent so far."""
    data = b""
    while end not in data:
        chunk = await stream.receive_some()
        assert chunk, data
        data += chunk
    return data


async def ask(port: int, request: bytes) -> bytes:
    """Return everything received for a request on a new connection."""
    async with await connect(port) as stream:
        await stream.send_all(request)
        return await read_to_end(stream)


async def get(port: int, path: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: example.test", "connection: close", *headers, "", ""]
    return await ask(port, "\r\n".join(lines).encode())


class Http2:
    """A client with a window of 65,535 bytes for each response. It opens the window only when it reads the content."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.protocol.initiate_connection()
        # Only single streams must be blocked.
        self.protocol.increment_flow_control_window(1 << 24)
        #: The received content of each stream that was not read.
        self.received: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self._moved = trio.Event()
        self._sending = trio.Lock()

    async def flush(self) -> None:
        async with self._sending:
            data = self.protocol.data_to_send()
            if data:
                await self.stream.send_all(data)

    async def ask(self, path: str, method: str = "GET") -> int:
        """Send the head of a request, and its end unless it is a POST. Return the number of its stream."""
        number: int = self.protocol.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.protocol.send_headers(number, headers, end_stream=method != "POST")
        await self.flush()
        return number

    async def receive(self) -> list[Any]:
        """Return the next events."""
        data = await self.stream.receive_some()
        assert data, "the server has closed the connection"
        events = self.protocol.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
        moved, self._moved = self._moved, trio.Event()
        moved.set()
        await self.flush()
        return events

    async def until(self, kind: type[Any], number: int) -> int:
        """Wait for an event of a stream. Return the size of its content received since the last call."""
        while True:
            if any(isinstance(event, kind) and event.stream_id == number for event in await self.receive()):
                return len(self.received.pop(number, b""))

    async def content(self, number: int) -> bytes:
        """Return all content of a response, and open the window for it."""
        content = b""
        while True:
            piece = self.received.pop(number, b"")
            content += piece
            if number in self.ended:
                return content
            if piece:
                self.protocol.acknowledge_received_data(len(piece), number)
                await self.flush()
            await self.receive()

    async def send_until_it_must_wait(self, number: int, content: bytes, size: int = 1 << 14) -> int:
        """Send content in frames of this size until an idle server leaves the window closed. Return the size sent."""
        sent = 0
        while sent < len(content):
            room = min(self.protocol.local_flow_control_window(number), size)
            if room:
                self.protocol.send_data(number, content[sent : sent + room])
                sent += min(room, len(content) - sent)
                if sent % 65536 < room:
                    await self.flush()
                continue
            await self.flush()
            with trio.move_on_after(10) as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stop_at_rest, scope)
                    await self.receive()
                    nursery.cancel_scope.cancel()
            if scope.cancelled_caught:
                break
        await self.flush()
        return sent

    async def _stop_at_rest(self, scope: trio.CancelScope) -> None:
        await trio.testing.wait_all_tasks_blocked(0.05)
        scope.cancel()

    async def send_all(self, number: int, content: bytes) -> None:
        """Send the rest of a request's content while another task receives."""
        while content:
            room = min(self.protocol.local_flow_control_window(number), 1 << 14)
            if not room:
                await self._moved.wait()
                continue
            self.protocol.send_data(number, content[:room], end_stream=room >= len(content))
            content = content[room:]
            await self.flush()
