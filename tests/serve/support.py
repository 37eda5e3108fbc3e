"""What the tests of this folder share: guests behind a handler, a handler behind a server, plain sockets in front."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import trio

from tests.guests import wat
from wasi_trio.runtime.component import LinkedComponent
from wasi_trio.runtime.engine import Engine
from wasi_trio.serve.application import Application
from wasi_trio.serve.handler import ProxyHandler
from wasi_trio.serve.loading import link
from wasi_trio.serve.options import HandlerOptions
from wasi_trio.serve.server import Server, bind

Application_ = Callable[..., Awaitable[None]]


@functools.cache
def engine() -> Engine:
    return Engine()


@functools.cache
def guest(name: str) -> LinkedComponent:
    """A hand-written guest, compiled and linked."""
    return link(engine(), wat.load(name), name)


@asynccontextmanager
async def serving(app: Application_, stop: trio.Event | None = None, **options: Any) -> AsyncIterator[int]:
    """A server for an ASGI application; gives its port. It is dropped with every connection in the end."""
    listener = bind(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(app, **options).run, [listener], stop or trio.Event())
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_guest(name: str, options: HandlerOptions | None = None, **server: Any) -> AsyncIterator[int]:
    """A server for a hand-written guest; gives its port."""
    async with (
        ProxyHandler(guest(name), options) as handler,
        serving(Application(handler, adds_date=True), **server) as port,
    ):
        yield port


async def connect(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def read_to_end(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    """What comes up to and with ``end``, which is to be the last of what was sent so far."""
    data = b""
    while end not in data:
        chunk = await stream.receive_some()
        assert chunk, data
        data += chunk
    return data


async def ask(port: int, request: bytes) -> bytes:
    """Everything that comes back for a request on a connection of its own."""
    async with await connect(port) as stream:
        await stream.send_all(request)
        return await read_to_end(stream)


async def get(port: int, path: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: example.test", "connection: close", *headers, "", ""]
    return await ask(port, "\r\n".join(lines).encode())


class Http2:
    """A client that takes no more of a response than the 65,535 bytes that it may be sent unasked."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.protocol.initiate_connection()
        # Only single streams are to be held up.
        self.protocol.increment_flow_control_window(1 << 24)

    async def ask(self, path: str) -> int:
        number: int = self.protocol.get_next_available_stream_id()
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.protocol.send_headers(number, headers, end_stream=True)
        await self.stream.send_all(self.protocol.data_to_send())
        return number

    async def until(self, kind: type[Any], number: int) -> int:
        """Wait for an event of one stream; how much content came with it and before."""
        size = 0
        seen = False
        while not seen:
            data = await self.stream.receive_some()
            assert data
            for event in self.protocol.receive_data(data):
                if getattr(event, "stream_id", None) == number:
                    seen = seen or isinstance(event, kind)
                    if isinstance(event, h2.events.DataReceived):
                        size += len(event.data)
            await self.stream.send_all(self.protocol.data_to_send())
        return size
