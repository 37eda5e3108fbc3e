"""What the tests of this folder share: guests behind a handler, a handler behind a server, plain sockets in front."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

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
