"""hypercorn's connection, with what a server of guests needs beyond it."""

from __future__ import annotations

import logging
import math
import select
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

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
from wasi_trio.wasi.http.body import Body, BodyClosed, Piece

if TYPE_CHECKING:
    from wasi_trio.serve.upload import Upload

logger = logging.getLogger("wasi_trio.serve")

#: where the state of a request's ASGI scope has its ``Connection``
CONNECTION = "wasi_trio.connection"
#: what bytes come and go by
Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"
#: what HTTP/2 begins with, where that was not agreed on over TLS
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: bytes to read at a time from a connection, at first, and where it has more
_LEAST_READ = 16 << 10
_MOST_READ = 512 << 10
#: bytes that a request's body has room for when more is received for it
_LEAST_ROOM = 64 << 10
#: bytes up to which it is cheaper to put together what is sent
_MOST_JOINED = 16 << 10
#: bytes to send over TLS at a time, which does not tell how many it has sent
_TLS_PIECE = 64 << 10
#: seconds after which a connection is looked at that is not read, as a guest does not read its request: by itself its
#: end is only seen behind all that was sent
_LOOK_UP = 1.0
#: what there is to see of a client that has left; only Linux has the word for one that left in good order
_LEFT = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
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
        self._read_size = _LEAST_READ
        #: much comes by it, and the system knows
        self._widened = False

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

    async def _send(self, pieces: list[Piece]) -> None:
        try:
            self.send_lock.acquire_nowait()
        except trio.WouldBlock:
            await self.send_lock.acquire()
        broken = False
        try:
            # What was partly sent could never be completed: the next frame would be read as its rest.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self.send_timeout) as scope:
                await self._transmit(pieces, scope)
            if scope.cancelled_caught:
                logger.warning("a connection is closed: its client took nothing for %g s", self.send_timeout)
                reset(self.stream)
                broken = True
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError):
            # Busy it is, as others wait for the lock, with being closed.
            broken = True
        finally:
            self.send_lock.release()
        if broken:
            for leave in list(self.on_broken):
                leave()
            await self.protocol.handle(Closed())

    async def _transmit(self, pieces: list[Piece], scope: trio.CancelScope) -> None:
        """Send all of some pieces, and put off the end of the scope as often as some of it could be sent."""
        stream = self.stream
        if isinstance(stream, trio.SocketStream):
            if len(pieces) > 1 and sum(map(len, pieces)) <= _MOST_JOINED:
                pieces = [b"".join(pieces)]
            while True:
                sent = await stream.socket.sendmsg(pieces)
                rest = _rest(pieces, sent)
                if not rest:
                    return
                pieces = rest
                scope.deadline = trio.current_time() + self.send_timeout
        else:
            data = memoryview(b"".join(pieces))
            for start in range(0, len(data), _TLS_PIECE):
                scope.deadline = trio.current_time() + self.send_timeout
                await stream.send_all(data[start : start + _TLS_PIECE])

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
                    data = await self._receive_content(http1, http1.upload)
                else:
                    data = await self._receive(_MOST_READ)
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

    async def _receive(self, most: int) -> bytes:
        """As hypercorn reads, but in larger pieces while so much comes: what one costs hardly depends on its size."""
        size = min(self._read_size, most)
        if self.config.read_timeout is None:
            data = await self.stream.receive_some(size)
        else:
            with trio.fail_after(self.config.read_timeout):
                data = await self.stream.receive_some(size)
        if len(data) < size:
            self._read_size = max(len(data), _LEAST_READ)
        else:
            self._read_size = min(2 * size, _MOST_READ)
            if size > _LEAST_READ and not self._widened:
                self._widened = True
                _widen(transport_of(self.stream).socket)
        return bytes(data)

    async def _receive_content(self, http1: Http1Connection, upload: Upload) -> bytes:
        """Receive content, all but the last of it, into the upload; returns what was received after it."""
        await upload.taken(http1.pieces)
        body = upload.body
        while True:
            while not await self._wait_for_room(body):
                if _has_left(self.stream):
                    return b""
            # What nobody reads is dropped: a client may be one that reads only once it has sent everything.
            data = await self._receive(body.permit() or _MOST_READ)
            if not data:
                return data
            while True:
                content, rest = http1.split(data)
                if content:
                    with suppress(BodyClosed):
                        await body.send_all(content)
                if rest is not None:
                    return rest
                if not content or not http1.undecoded:
                    break
                data = b""
                await trio.lowlevel.checkpoint()

    async def _wait_for_room(self, body: Body) -> bool:
        """Wait for room in a body, but not for long; whether there is some, or nobody wants it."""
        with trio.move_on_after(_LOOK_UP):
            await body.wait_permit(_LEAST_ROOM)
            return True
        return False

    async def _close(self) -> None:
        with trio.move_on_after(_FAREWELL):
            await super()._close()

    async def _initiate_server_close(self) -> None:
        with trio.move_on_after(_FAREWELL):
            await super()._initiate_server_close()


def _rest(pieces: list[Piece], sent: int) -> list[Piece]:
    """What is left of some pieces when so many bytes of them are sent."""
    for number, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[number + 1 :]]
        sent -= len(piece)
    return []


def _widen(sock: trio.socket.SocketType) -> None:
    """Have the system hold as much as is read at a time.

    By itself Linux holds no more than was read lately, so that who reads fast gets many small pieces. Being told to
    wake a reader for so much only, it makes room for that, and keeps it when told otherwise.
    """
    with suppress(OSError):  # of a system that has no such thing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _MOST_READ)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _has_left(stream: Stream) -> bool:
    """Whether the client has ended a connection from which there is still something to read."""
    number = transport_of(stream).socket.fileno()
    if number < 0:
        return True  # it was closed here meanwhile
    poll = select.poll()
    poll.register(number, _LEFT)
    return bool(poll.poll(0))


def reset(stream: Stream) -> None:
    """Close a connection so that its client sees it break, and drop what was not sent."""
    transport = transport_of(stream)
    # A lingering time of none makes closing a reset, where it would have been an orderly end.
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.socket.close()


def transport_of(stream: Stream) -> trio.SocketStream:
    """The socket's stream below TLS, if there is that."""
    return stream if isinstance(stream, trio.SocketStream) else stream.transport_stream


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
