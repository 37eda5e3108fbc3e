"""The client's end of an exchange, as ASGI tells of it: content of the request, then that the client has left."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from wasi_trio.serve.asgi._http2 import Intake
from wasi_trio.wasi.http._body import Body, BodyClosed, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError

#: pieces up to this size are kept together
_SMALL = 4096

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Upload:
    """Takes the events of one request from an ASGI server, its content into ``body``, no faster than that is read.

    Over HTTP/1 no further event is taken meanwhile. Over HTTP/2 events of all requests come one after the other, so
    that each has to be taken at once; there it is the client that waits, by what the request's ``intake`` tells it.
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
        #: content received for which the body had no room yet
        self._pending: deque[Piece] = deque()
        #: of how many events each is
        self._counts: deque[int] = deque()
        #: the server has given all of the request
        self.complete = body.finished
        self.client_left = False
        #: called once, when the client has left
        self.on_left: Callable[[], None] | None = None

    async def run(self) -> None:
        """Take events until there is the one that the client has left.

        Cancelling this loses nothing, and it can be run again. Content that nobody reads any more is taken and
        dropped: a client may be one that reads no response before it has sent everything. That it has left may be
        known before; but whoever gives the events waits until all are taken, and may be the one who has found it out.
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
        """Those of the request, of which ASGI does not tell."""
        return None if self._intake is None else self._intake.trailers

    def _accept(self, message: Message) -> bool:
        """Take an event; whether it is that the client has left."""
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
            # One object for each byte would take a hundred times its size.
            last = pending[-1]
            if type(last) is bytearray:
                last += content
                self._counts[-1] += 1
                return
            content = bytearray(content)
        pending.append(content)
        self._counts.append(1)

    def _fits(self) -> bool:
        """Whether there is room for all that is pending, or nobody reads it."""
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
        """Write all that is pending, and that comes meanwhile; whether the client has left."""
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
        """The client has left, however that came to be known."""
        if not self.client_left:
            self.client_left = True
            self.end()
            if self.on_left is not None:
                self.on_left()

    def end(self) -> None:
        """The exchange is over: a guest that still reads finds the request cut short, unless it had all of it."""
        self.body.abort(HttpError("connection-terminated"))
