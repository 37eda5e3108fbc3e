"""The ways from a client to a guest: the harness, HTTP/1.1 and HTTP/2. The same rules apply to all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import h11
import hpack
import hyperframe.frame as frames
import pytest
import trio

from tests.e2e.support import Client
from tests.guests.build import build
from wasi_trio.testing import ExchangeFailed, component, server


class Got(NamedTuple):
    """A response as the client received it. ``headers`` has names in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes


class Cut(Exception):
    """The response is missing or incomplete. ``content`` is the received part."""

    def __init__(self, status: int | None, content: bytes) -> None:
        super().__init__(f"{status}: {content!r}")
        self.status = status
        self.content = content


#: Sends a request with a method and a path to the guest. Raises Cut.
Ask = Callable[[str, str], Awaitable[Got]]


@asynccontextmanager
async def harness(guest: str, **settings: Any) -> AsyncIterator[Ask]:
    async with component(build(guest), **settings) as app:

        async def ask(method: str, path: str) -> Got:
            status, content = None, b""
            try:
                async with app.stream(method, path) as response:
                    status = response.status
                    async for piece in response:
                        content += piece
                    headers = {name.lower(): value for name, value in response.headers.items()}
            except ExchangeFailed:
                raise Cut(status, content) from None
            return Got(status, headers, content)

        yield ask


@asynccontextmanager
async def http1(guest: str, **settings: Any) -> AsyncIterator[Ask]:
    """Send all requests of a block on one connection, until the server closes it."""
    async with server(build(guest), **settings) as live, AsyncExitStack() as clients:
        client: Client | None = None

        async def ask(method: str, path: str) -> Got:
            nonlocal client
            with trio.fail_after(60):
                if client is None:
                    client = await clients.enter_async_context(Client(live.port))
                elif client.protocol.our_state is not h11.IDLE:
                    client.protocol.start_next_cycle()
                answer = await client.ask(path, method)
            if answer.cut:
                client = None
                raise Cut(answer.status, answer.body)
            return Got(answer.status, answer.headers, answer.body)

        yield ask


@asynccontextmanager
async def http2(guest: str, **settings: Any) -> AsyncIterator[Ask]:
    """This client handles frames itself: h2 would expect content of the length that a 304 announces."""
    async with server(build(guest), **settings) as live, await trio.open_tcp_stream("127.0.0.1", live.port) as stream:
        connection = _Http2(stream)
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames.SettingsFrame().serialize())

        async def ask(method: str, path: str) -> Got:
            with trio.fail_after(60):
                return await connection.ask(method, path)

        yield ask


class _Http2:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._received = b""
        self._number = -1

    async def ask(self, method: str, path: str) -> Got:
        self._number += 2
        head = frames.HeadersFrame(self._number, flags=["END_HEADERS", "END_STREAM"])
        target = {":authority": "x"} if method == "CONNECT" else {":scheme": "http", ":authority": "x", ":path": path}
        head.data = self._encoder.encode([(":method", method), *target.items()])
        await self._stream.send_all(head.serialize())
        headers: dict[str, str] = {}
        content = b""
        while True:
            frame = await self._frame()
            if isinstance(frame, frames.SettingsFrame) and "ACK" not in frame.flags:
                await self._stream.send_all(frames.SettingsFrame(flags=["ACK"]).serialize())
            if frame.stream_id != self._number:
                continue
            if isinstance(frame, frames.RstStreamFrame):
                raise Cut(int(headers[":status"]) if headers else None, content)
            if isinstance(frame, frames.HeadersFrame):
                headers |= dict(self._decoder.decode(frame.data))
            elif isinstance(frame, frames.DataFrame):
                content += frame.data
            if "END_STREAM" in frame.flags:
                return Got(int(headers.pop(":status")), headers, content)

    async def _frame(self) -> Any:
        await self._fill(9)
        frame, length = frames.Frame.parse_frame_header(memoryview(self._received[:9]))
        await self._fill(9 + length)
        frame.parse_body(memoryview(self._received[9 : 9 + length]))
        self._received = self._received[9 + length :]
        return frame

    async def _fill(self, size: int) -> None:
        while len(self._received) < size:
            data = await self._stream.receive_some()
            assert data, "the server has closed the connection"
            self._received += data


WAYS = pytest.mark.parametrize("way", [harness, http1, http2])
BOTH = pytest.mark.parametrize("guest", ["python_p2", "python_p3"])
