"""The client's end of an exchange, as ASGI tells of it: content of the request, then that the client has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from wasi_trio.serve.http1 import Http1Connection
from wasi_trio.wasi.http.body import Body, BodyClosed
from wasi_trio.wasi.http.errors import HttpError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Upload:
    """Takes the events of one request from an ASGI server, its content into ``body``, no faster than that is read."""

    __slots__ = (
        "_http1",
        "_pending",
        "_pieces",
        "_progress",
        "_receive",
        "body",
        "client_left",
        "complete",
        "on_left",
    )

    def __init__(self, receive: Receive, body: Body, http1: Http1Connection | None = None) -> None:
        self._receive = receive
        self.body = body
        #: where trailers are, of which ASGI does not tell
        self._http1 = http1
        #: content received for which the body had no room yet
        self._pending: bytes | memoryview = b""
        #: events with content that were received
        self._pieces = 0
        #: set when more of it is in the body
        self._progress: trio.Event | None = None
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
                await self._write_pending()
            if self._progress is not None:
                self._progress.set()
                self._progress = None
            if self.complete:
                self.body.finish(None if self._http1 is None else self._http1.request_trailers)
            message = await self._receive()
            kind = message["type"]
            if kind == "http.request":
                self._pending = message.get("body", b"")
                if self._pending:
                    self._pieces += 1
                if not message.get("more_body", False):
                    self.complete = True
            elif kind == "http.disconnect":
                self.leave()
                return

    async def _write_pending(self) -> None:
        body = self.body
        while self._pending:
            try:
                written = body.try_write(self._pending)
            except BodyClosed:
                self._pending = b""
                return
            self._pending = memoryview(self._pending)[written:] if written < len(self._pending) else b""
            if self._pending:
                await body.wait_permit()

    async def taken(self, pieces: int) -> None:
        """Wait until the content of the first so many events that had any is in the body."""
        while self._pieces < pieces or self._pending:
            if self._progress is None:
                self._progress = trio.Event()
            await self._progress.wait()

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
