"""Shared by the end-to-end tests: a server in this process, and a client that sees every part of a response."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import h11
import pytest
import trio

from tests.guests import wat
from tests.guests.build import build
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._pump import Call
from wasi_trio.serve._listening import bind
from wasi_trio.serve._loading import link
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.http._limits import ConnectionLimits
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._guest import IncomingHandler, ServiceHandler
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request, Response

#: The timeout of a waiting test, in seconds. Everything here is fast on an idle machine.
PATIENCE = 60.0


@functools.cache
def engine() -> Engine:
    return Engine()


@functools.cache
def guest(name: str) -> LinkedComponent:
    """Compile and link a guest by name. ``python_p2`` comes from a toolchain, and all others from text."""
    data = build(name).read_bytes() if name.startswith("python") else wat.load(name)
    return link(engine(), data, name)


# ---- a handler without a server --------------------------------------------------------------------------


def request(path: str = "/", method: str = "GET", body: Body | None = None) -> Request:
    return Request(method, "http", "example.test", path, [], Body.empty() if body is None else body)


async def content(response: Response) -> bytes:
    """Return all of a response's body. Raise BodyAborted if it is cut."""
    pieces = []
    while piece := await response.body.receive_some():
        pieces.append(piece)
    return b"".join(pieces)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "wasi_trio.serve"]


def told(caplog: pytest.LogCaptureFixture, reason: str) -> bool:
    """Return whether a first line in the log contains the reason."""
    return any(reason in line.split("\n", 1)[0] for line in logged(caplog))


async def until(condition: Callable[[], bool]) -> None:
    """Return when ``condition`` holds. The event loop keeps running.

    A virtual clock stands still meanwhile, so it is advanced a little at intervals, for conditions that depend on time.
    """
    turns = 0
    while not condition():
        await trio.lowlevel.checkpoint()
        turns += 1
        if turns % 10_000 == 0:
            await trio.sleep(1e-3)


class Watched(IncomingHandler):
    """The handler's interface for calling guests, which also records the called instances."""

    def __init__(self, component: LinkedComponent) -> None:
        super().__init__(component)
        self.instances: list[Instance] = []

    async def call(self, instance: Instance, exchange: Exchange) -> None:
        self.instances.append(instance)
        await super().call(instance, exchange)


class WatchedService(ServiceHandler):
    """The same for guests of WASI 0.3."""

    def __init__(self, component: LinkedComponent) -> None:
        super().__init__(component)
        self.instances: list[Instance] = []

    def begin(self, instance: Instance, exchange: Exchange, on_done: Callable[[], None]) -> Call:
        self.instances.append(instance)
        return super().begin(instance, exchange, on_done)


class Pool:
    """A handler and the instances that it has had."""

    def __init__(self, handler: ProxyHandler) -> None:
        self.handler = handler
        self.watched = (Watched if isinstance(handler.calls, IncomingHandler) else WatchedService)(handler.component)
        handler.calls = self.watched

    @property
    def instances(self) -> list[Instance]:
        """The instances in the order of their first requests, each once."""
        return self.watched.instances

    @property
    def live(self) -> int:
        """The number of instances that still have a store."""
        return sum(alive(instance) for instance in set(self.instances))

    async def all_gone(self) -> None:
        """Return when no instance has a request and all stores are freed."""
        await until(lambda: not self.handler.active and not self.live)

    async def get(self, path: str = "/") -> bytes:
        """Return the content of the response to a request without a socket."""
        return await content(await self.handler.handle(request(path)))


def alive(instance: Instance) -> bool:
    return any(store is not None and store.pointer is not None for store in instance.stores)


@asynccontextmanager
async def handle(name: str, options: HandlerOptions | None = None) -> AsyncIterator[Pool]:
    """Run a handler for a guest during the block. Cancel everything at the end."""
    with trio.CancelScope() as scope:
        async with ProxyHandler(guest(name), options) as handler:
            yield Pool(handler)
            scope.cancel()


# ---- a server in this process ----------------------------------------------------------------------------


class Site(Pool):
    """A guest served on ``port`` of 127.0.0.1."""

    def __init__(self, handler: ProxyHandler, port: int) -> None:
        super().__init__(handler)
        self.port = port

    def client(self) -> Client:
        return Client(self.port)

    async def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", *headers: tuple[str, str]) -> Answer:
        """Send a request on a new connection, and return the response."""
        async with self.client() as client:
            return await client.ask(path, method, body, *headers)


@asynccontextmanager
async def serve(
    component: str | LinkedComponent, options: HandlerOptions | None = None, headers: Sequence[tuple[bytes, bytes]] = ()
) -> AsyncIterator[Site]:
    """Serve a guest during the block. Cancel everything at the end.

    Instances are kept for the whole test unless ``options`` differ, because sockets have no virtual clock.
    """
    options = options or HandlerOptions()
    if options.idle_instance_timeout == HandlerOptions().idle_instance_timeout:
        options = replace(options, idle_instance_timeout=3600.0)
    linked = guest(component) if isinstance(component, str) else component
    listener = bind(("127.0.0.1", 0))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery, ProxyHandler(linked, options) as handler:
            site = Site(handler, listener.getsockname()[1])
            # A client that closes its connection must count as gone at once.
            limits = ConnectionLimits(half_closed_timeout=0.0)
            server = Server(HandlerService(handler, headers=headers), limits=limits)
            nursery.start_soon(server.run, [listener], trio.Event())
            yield site
            nursery.cancel_scope.cancel()


# ---- a client --------------------------------------------------------------------------------------------


class Answer:
    """A whole response. ``cut`` says that the connection ended before its end."""

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.headers = {bytes(name).decode(): bytes(value).decode("latin-1") for name, value in headers}
        self.body = b""
        self.cut = False


async def called(site: Site, number: int) -> None:
    """Return when this many instances have been called. A virtual clock stands still meanwhile."""
    while len(site.instances) < number:
        await trio.lowlevel.checkpoint()


class Client:
    """An HTTP/1.1 connection. Violations of the protocol raise h11.RemoteProtocolError."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.address = (host, port)
        self.protocol = h11.Connection(h11.CLIENT)
        self._stream: trio.SocketStream | None = None

    async def __aenter__(self) -> Client:
        self._stream = await trio.open_tcp_stream(*self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self.stream)

    @property
    def stream(self) -> trio.SocketStream:
        assert self._stream is not None
        return self._stream

    async def start(self, path: str, method: str = "GET", *headers: tuple[str, str]) -> None:
        """Send the head of a request, and its end unless a header announces a body."""
        host, port = self.address
        await self.send(h11.Request(method=method, target=path, headers=[("host", f"{host}:{port}"), *headers]))
        if not any(name in ("content-length", "transfer-encoding") for name, _ in headers):
            await self.end()

    async def send(self, event: h11.Event) -> None:
        data = self.protocol.send(event)
        if data:
            await self.stream.send_all(data)

    async def write(self, data: bytes) -> None:
        await self.send(h11.Data(data=data))

    async def end(self) -> None:
        await self.send(h11.EndOfMessage())

    async def event(self) -> Any:
        while (event := self.protocol.next_event()) is h11.NEED_DATA:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                # A reset counts as an end, which h11 interprets in the middle of a response.
                data = b""
            self.protocol.receive_data(data)
        return event

    async def head(self) -> Answer:
        """Return the head of the response."""
        event = await self.event()
        assert isinstance(event, h11.Response), event
        return Answer(event.status_code, event.headers)

    async def content(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the response's body, and no byte more."""
        data = b""
        while len(data) < size:
            event = await self.event()
            assert isinstance(event, h11.Data), event
            data += event.data
        assert len(data) == size, data
        return data

    async def rest(self, answer: Answer) -> Answer:
        """Complete a response with the rest of its body."""
        try:
            while isinstance(event := await self.event(), h11.Data):
                answer.body += event.data
        except h11.RemoteProtocolError:
            answer.cut = True
        else:
            assert isinstance(event, h11.EndOfMessage), event
        return answer

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", *headers: tuple[str, str]) -> Answer:
        """Send a request, and return its whole response. After a complete response the client may ask again."""
        if self.protocol.our_state is h11.DONE:
            self.protocol.start_next_cycle()
        if body:
            headers = (*headers, ("content-length", str(len(body))))
        await self.start(path, method, *headers)
        if body:
            await self.write(body)
            await self.end()
        return await self.rest(await self.head())
