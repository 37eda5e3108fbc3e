"""The client's side of an ASGI exchange: the content of the request, then the client's departure."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from wasi_trio.serve.asgi._http2 import Intake
from wasi_trio.wasi.http._body import Body, BodyClosed, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError

#: The size up to which pieces are joined.
_SMALL = 4096

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Upload:
    """Receives the events of one request from an ASGI server, and writes its content into ``body`` as that is read.

    In HTTP/1 it receives no further event while the body is full. In HTTP/2 the events of all requests come from one
    task, so it must receive each event at once. There ``intake`` makes the client wait.
    """

    __slots__ = (
        "_counts",
        "_intake",
        "_pending",
        "_receive",
        "body",
        "client_left",
        "complete",
        "on_left",
    )

    def __init__(self, receive: Receive, body: Body, intake: Intake | None = None) -> None:
        self._receive = receive
        self.body = body
        self._intake = intake
        #: The received content for which the body has no room.
        self._pending: deque[Piece] = deque()
        #: The number of events in each piece.
        self._counts: deque[int] = deque()
        #: Whether all of the request was received.
        self.complete = body.finished
        self.client_left = False
        #: Called once when the client has left.
        self.on_left: Callable[[], None] | None = None

    async def run(self) -> None:
        """Receive events until the client has left.

        Cancellation loses nothing, and ``run`` may be called again. Content without a reader is received and dropped,
        because some clients read only after sending everything. If the client's departure is known earlier, this
        continues, because the server may wait until all events are received.
        """
        while True:
            if self._pending:
                if self._intake is None or self._fits():
                    await self._write_pending()
                elif await self._write_while_receiving():
                    return
            if self.complete:
                self.body.finish(self._trailers)
            if self._accept(await self._receive()):
                return

    @property
    def _trailers(self) -> Trailers | None:
        """The trailers of the request, which ASGI does not contain."""
        return None if self._intake is None else self._intake.trailers

    def _accept(self, message: Message) -> bool:
        """Handle an event. Return whether it reports the client's departure."""
        kind = message["type"]
        if kind == "http.request":
            content: bytes = message.get("body", b"")
            more: bool = message.get("more_body", False)
            if content or (more and self._intake is not None):
                self._hold(content)
            if not more:
                self.complete = True
        elif kind == "http.disconnect":
            self.leave()
            return True
        return False

    def _hold(self, content: Piece) -> None:
        pending = self._pending
        if pending and len(content) <= _SMALL:
            # One object for each byte would take a hundred times the memory.
            last = pending[-1]
            if type(last) is bytearray:
                last += content
                self._counts[-1] += 1
                return
            content = bytearray(content)
        pending.append(content)
        self._counts.append(1)

    def _fits(self) -> bool:
        """Return whether the body has room for all pending content, or no reader."""
        body = self.body
        return body.closed or body.finished or sum(map(len, self._pending)) <= body.permit()

    async def _write_pending(self) -> None:
        body, pending = self.body, self._pending
        while pending:
            piece = pending[0]
            try:
                written = body.try_write(piece)
            except BodyClosed:
                written = len(piece)
            if written < len(piece):
                pending[0] = memoryview(piece)[written:]
                await body.wait_permit()
                continue
            pending.popleft()
            count = self._counts.popleft()
            if self._intake is not None:
                await self._intake.taken(count)

    async def _write_while_receiving(self) -> bool:
        """Write all pending content while receiving more. Return whether the client has left."""
        left = False
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                await self._write_pending()
                nursery.cancel_scope.cancel()

            nursery.start_soon(write)
            while not left:
                left = self._accept(await self._receive())
        return left

    def leave(self) -> None:
        """Handle the client's departure, from whatever source."""
        if not self.client_left:
            self.client_left = True
            self.end()
            if self.on_left is not None:
                self.on_left()

    def end(self) -> None:
        """End the exchange. A guest that still reads finds the request truncated, unless it has received all of it."""
        self.body.abort(HttpError("connection-terminated"))
