"""A server on a real socket for guests' requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import trio


@dataclass
class Asked:
    """A request that the server received."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    content: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Said:
    """A response. Content in pieces is chunked."""

    status: int = 200
    content: bytes | list[bytes] = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    #: True if the server closes the connection before the end of the content.
    cut: bool = False
    #: The event that the server awaits after the first of several pieces.
    after_first: trio.Event | None = None


class Upstream:
    """A server whose ``asked`` has the requests so far."""

    def __init__(self, answer: Callable[[Asked], Awaitable[Said]], url: str) -> None:
        self._answer = answer
        self.url = url
        self.asked: list[Asked] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        asked: Asked | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                asked = Asked(event.method.decode(), event.target.decode(), _text(event.headers.raw_items()))
                if connection.they_are_waiting_for_100_continue:
                    await _send(stream, connection, h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                assert asked is not None
                asked.content += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert asked is not None
                asked.trailers = _text(event.headers.raw_items())
                break
            else:
                return
        self.asked.append(asked)
        await self._say(stream, connection, await self._answer(asked))

    async def _say(self, stream: trio.SocketStream, connection: h11.Connection, said: Said) -> None:
        pieces = [said.content] if isinstance(said.content, bytes) else said.content
        headers: list[tuple[str, str]] = [*said.headers, ("connection", "close")]
        if isinstance(said.content, bytes) and not said.trailers and not said.cut:
            headers.append(("content-length", str(len(said.content))))
        else:
            headers.append(("transfer-encoding", "chunked"))
        await _send(stream, connection, h11.Response(status_code=said.status, headers=headers))
        for number, piece in enumerate(pieces):
            if number == 1 and said.after_first is not None:
                await said.after_first.wait()
            await _send(stream, connection, h11.Data(data=piece))
        if not said.cut:
            await _send(stream, connection, h11.EndOfMessage(headers=said.trailers))


async def _send(stream: trio.SocketStream, connection: h11.Connection, event: h11.Event) -> None:
    try:
        await stream.send_all(connection.send(event) or b"")
    except trio.BrokenResourceError:
        raise _Left from None


class _Left(Exception):
    """The client has closed the connection."""


def _text(items: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in items]


@asynccontextmanager
async def upstream(answer: Callable[[Asked], Awaitable[Said]]) -> AsyncIterator[Upstream]:
    """Run a server that answers requests by ``answer``, at ``upstream.url``."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Upstream(answer, f"http://127.0.0.1:{listener.socket.getsockname()[1]}")

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await server.serve(stream)
            except _Left:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()
