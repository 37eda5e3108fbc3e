"""hypercorn's connection, with what a server of guests needs beyond it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from wasi_trio.serve.http1 import Http1Connection
from wasi_trio.serve.http2 import mend
from wasi_trio.serve.receiving import ContentReceiver, Receiver
from wasi_trio.serve.sending import Sender, reset
from wasi_trio.wasi.http.body import Body, Piece

#: where the state of a request's ASGI scope has its ``Connection``
CONNECTION = "wasi_trio.connection"
#: what HTTP/2 begins with, where that was not agreed on over TLS
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: seconds for TLS to say that a connection ends, where its client takes nothing
_FAREWELL = 1.0


class Connection(TCPServer):
    """A connection that ends when its client leaves, and tells the requests on it when sending finds it gone.

    By itself hypercorn keeps it until the keep-alive timeout, and tells a request only by an event, for which
    there may be no room while the application waits for the guest to read.

    Content over HTTP/1 goes past hypercorn, which would take several times as long for it as all else does: that of a
    request into the ``upload`` of ``http1``, if there is one, and that of a response by ``send_content``.

    A client that takes nothing of what is sent to it for ``send_timeout`` seconds counts as one that has left.
    """

    def __init__(
        self, app: ASGIWrapper, config: Config, context: WorkerContext, stream: Any, send_timeout: float
    ) -> None:
        super().__init__(app, config, context, {CONNECTION: self}, stream)
        #: seconds that the client may take nothing of what is sent
        self.send_timeout = send_timeout
        #: called, each of them, when the client turns out to have left
        self.on_broken: set[Callable[[], None]] = set()
        self.idle_task: _IdleTimer = _IdleTimer(  # type: ignore[assignment]
            config.keep_alive_timeout, context, self._initiate_server_close
        )
        self._corked = False
        self._held = b""
        #: around the reading
        self._reading = trio.CancelScope()
        self._sender = Sender(stream, send_timeout)

    def cork(self) -> None:
        """Hold back what is sent next until something follows it, so that both go out together."""
        self._corked = True

    async def uncork(self) -> None:
        """Hold back nothing any more: nothing may have followed, or not even been sent, where the client has left."""
        self._corked = False
        held, self._held = self._held, b""
        if held:
            await self._send([held])

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Closed):
            try:
                await super().protocol_send(event)
            finally:
                # It may be waiting to go on with the next request, which it never will.
                self._reading.cancel()
            return
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        if self._corked:
            self._corked = False
            self._held += event.data
            return
        held, self._held = self._held, b""
        data = held + event.data
        if data:
            await self._send([data])

    async def send_content(self, http1: Http1Connection, pieces: list[Piece]) -> None:
        """Send content of the response that was begun over HTTP/1."""
        try:
            pieces = http1.send_content(pieces)
        except h11.LocalProtocolError:
            if http1.their_state is h11.ERROR:
                return  # as hypercorn has it: the connection is about to be closed
            raise
        await self._send(pieces)

    def send_content_now(self, http1: Http1Connection, body: Body) -> int:
        """Send what a body holds without waiting, from a host function; how much of it was taken from the body.

        That is none where something else is being sent, the client takes nothing, or others are to have their turn.
        """
        size = body.buffered
        if http1.their_state is h11.ERROR or not self._sender.can_send_now():
            return 0
        try:
            if not self._sender.send_now(http1.send_content(body.take_pieces())):
                self._task_group.spawn(self._send, [])
        except BaseException:
            # A host function that was interrupted in the middle of this: nobody knows what has been sent.
            reset(self.stream)
            raise
        return size

    async def _send(self, pieces: list[Piece]) -> None:
        if not await self._sender.send(pieces):
            for leave in list(self.on_broken):
                leave()
            await self.protocol.handle(Closed())

    @property
    def http1(self) -> Http1Connection | None:
        """Its state, if it speaks HTTP/1."""
        connection = getattr(self.protocol.protocol, "connection", None)
        return connection if isinstance(connection, Http1Connection) else None

    async def _read_data(self) -> None:
        with self._reading:
            await self._read_pieces()
        await self.protocol.handle(Closed())
        self.idle_task.end()

    async def _read_pieces(self) -> None:
        receiver = Receiver(self.stream, self.config.read_timeout)
        http1: Http1Connection | None = None
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol):
            http1 = Http1Connection(self.config.h11_max_incomplete_size)
            protocol.connection = http1  # type: ignore[assignment]
        elif isinstance(protocol, H2Protocol):
            mend(protocol)
        while True:
            try:
                if http1 is not None and http1.content is not None and http1.upload is not None:
                    await http1.upload.taken(http1.pieces)
                    data = await ContentReceiver(receiver, http1, http1.upload).run()
                else:
                    data = await receiver.receive()
            except (trio.ClosedResourceError, trio.BrokenResourceError, trio.TooSlowError):
                return
            if data.startswith(_PREFACE):
                # Alone, so that HTTP/2 is mended before a request comes by it.
                await self.protocol.handle(RawData(_PREFACE))
                data = data[len(_PREFACE) :]
                if http1 is not None and await self._has_changed():
                    http1 = None
                if not data:
                    continue
            await self.protocol.handle(RawData(data))
            if not data:
                return
            if http1 is not None and await self._has_changed():
                http1 = None

    async def _has_changed(self) -> bool:
        """Whether it speaks HTTP/2 now, which is mended then; to be asked after anything that came over HTTP/1."""
        protocol = self.protocol.protocol
        if not isinstance(protocol, H2Protocol):
            return False
        mend(protocol)
        if not protocol.streams:
            # What it began with counted as a request, whose end would never come.
            await self.protocol_send(Updated(idle=True))
        return True

    async def _close(self) -> None:
        with trio.move_on_after(_FAREWELL):
            await super()._close()

    async def _initiate_server_close(self) -> None:
        with trio.move_on_after(_FAREWELL):
            await super()._initiate_server_close()


def connection_of(scope: MutableMapping[str, Any]) -> Connection | None:
    """The connection that a request came by, where the server is ours."""
    connection = scope.get("state", {}).get(CONNECTION)
    return connection if isinstance(connection, Connection) else None


class _IdleTimer:
    """Closes a connection that was idle for ``timeout`` seconds, or at once when the server ends.

    It stands in for hypercorn's, which starts a task after each request and cancels it at the next.
    """

    def __init__(self, timeout: float, context: WorkerContext, close: Callable[[], Awaitable[None]]) -> None:
        self._timeout = timeout
        self._context = context
        self._close = close
        self._deadline = math.inf
        self._scope: trio.CancelScope | None = None
        #: set when the connection is idle or has ended, for a server that ends
        self._leavable = trio.Event()
        self._ended = False

    async def restart(self, task_group: Any, action: Any) -> None:
        """The connection is idle from now on."""
        self._deadline = trio.current_time() + self._timeout
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=self._deadline)
            task_group.spawn(self._run)
        else:
            self._scope.deadline = self._deadline
        self._leavable.set()

    async def stop(self) -> None:
        """The connection is no longer idle."""
        self._deadline = math.inf
        if self._scope is not None:
            self._scope.deadline = math.inf
        if self._leavable.is_set():
            self._leavable = trio.Event()

    def end(self) -> None:
        """The connection has ended by itself."""
        self._ended = True
        self._leavable.set()
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self) -> None:
        while not self._ended:
            self._scope = trio.CancelScope(deadline=self._deadline)
            with self._scope:
                await self._context.terminated.wait()
                await self._leavable.wait()
            # It may have become busy again just when its time was over.
            if self._leavable.is_set() and not self._ended:
                with trio.CancelScope(shield=True):
                    await self._close()
                return
