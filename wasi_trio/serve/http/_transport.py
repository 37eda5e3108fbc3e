"""The bytes of a connection. Received pieces grow with the traffic. Sending waits only if the system is busy."""

from __future__ import annotations

import math
import os
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import trio

from wasi_trio.component._account import Account
from wasi_trio.wasi.http._body import Piece

#: A connection's stream, with or without TLS.
Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"

#: The number of bytes to read at a time: at first, and from a connection that always has more.
MIN_READ = 16 << 10
MAX_READ = 512 << 10
#: The size up to which joining pieces is cheaper than sending them separately.
_MAX_JOINED = 16 << 10
#: The maximum number of pieces in one system call.
_MAX_PIECES = 512
#: The number of bytes to send over TLS at a time, because trio does not report progress within a call.
_TLS_PIECE = 64 << 10
#: The poll events of a peer that has left. Only Linux reports the orderly end of one side.
_BROKEN = select.POLLHUP | select.POLLERR
_ENDED = getattr(select, "POLLRDHUP", 0)


def socket_of(stream: Stream) -> trio.socket.SocketType:
    """Return the socket of a stream, also below TLS."""
    return (stream if isinstance(stream, trio.SocketStream) else stream.transport_stream).socket


class Input:
    """Receives from a stream, in larger pieces under heavy traffic: the cost of a piece hardly depends on its size."""

    __slots__ = ("_file", "_plain", "_size", "_stream", "_widened", "largest")

    def __init__(self, stream: Stream, largest: int = MAX_READ) -> None:
        self._stream = stream
        self._plain = isinstance(stream, trio.SocketStream)
        self._file = socket_of(stream).fileno()
        self._size = MIN_READ
        self._widened = False
        self.largest = largest

    @property
    def is_plain(self) -> bool:
        """Whether the stream has no TLS, so that ``receive_now`` works."""
        return self._plain

    async def receive(self, most: int = MAX_READ) -> bytes:
        """Receive some bytes, or none at the end. Raise trio.BrokenResourceError or trio.ClosedResourceError."""
        if not self._plain:
            return bytes(await self._stream.receive_some(min(self._size, most)))
        while True:
            await trio.lowlevel.wait_readable(self._file)
            data = self.receive_now(most)
            if data is not None:
                return data

    async def wait(self) -> None:
        """Wait until ``receive_now`` has data."""
        await trio.lowlevel.wait_readable(self._file)

    def receive_now(self, most: int = MAX_READ) -> bytes | None:
        """Return available data as ``receive`` does, or None."""
        size = min(self._size, most)
        try:
            data = os.read(self._file, size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if len(data) == size:
            self._grow(size)
        elif self._size > MIN_READ:
            self._size = max(len(data), MIN_READ)
        return data

    def _grow(self, size: int) -> None:
        self._size = min(2 * size, self.largest)
        if size > MIN_READ and not self._widened:
            self._widened = True
            _widen(socket_of(self._stream))


def _widen(sock: trio.socket.SocketType) -> None:
    """Make the system buffer as much as is read at a time.

    Linux buffers about as much as was read lately, so a fast reader receives many small pieces. A large SO_RCVLOWAT
    makes it enlarge the buffer, which stays large when SO_RCVLOWAT is reset.
    """
    with suppress(OSError):  # not all systems have this option
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, MAX_READ)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


class Output:
    """Sends data in order: at once as far as the system accepts it, and the rest in a task.

    The task starts in ``nursery`` when it is first needed. ``on_broken`` is called once, when the client turns out to
    have left, in the task that notices.
    """

    def __init__(
        self, stream: Stream, nursery: trio.Nursery, on_broken: Callable[[], None], account: Account | None = None
    ) -> None:
        #: Called when the client has received some of the queued data.
        self.on_progress: Callable[[], None] | None = None
        self._stream = stream
        self._file = socket_of(stream).fileno()
        self._plain = isinstance(stream, trio.SocketStream)
        #: None after the release.
        self._nursery: trio.Nursery | None = nursery
        self._on_broken = on_broken
        self._pending: list[Piece] = []
        #: The number of queued bytes. The account counts them.
        self.size = 0
        self._account = Account() if account is None else account
        #: Whether sending has ended.
        self.broken = False
        #: The time of the last progress in sending queued data.
        self.progressed_at = -math.inf
        #: Whether something was sent since this was last cleared.
        self.active = False
        self._drained = trio.Event()
        self._wakeup: trio.Event | None = None
        self._running = False

    def write(self, pieces: list[Piece]) -> bool:
        """Send pieces, which must not change. Queue everything that the system does not accept at once.

        Returns whether nothing is queued.
        """
        if self.broken:
            return True
        self.active = True
        if not self.size:
            if self._plain:
                pieces = self._send_now(pieces)
            if not pieces:
                return True
            self.progressed_at = trio.current_time()
        self._pending += pieces
        self._resize(self.size + sum(map(len, pieces)))
        if not self._running:
            self._running = True
            assert self._nursery is not None
            self._nursery.start_soon(self._run)
        elif self._wakeup is not None:
            self._wakeup.set()
        return False

    def _resize(self, size: int) -> None:
        self._account.grown(size - self.size)
        self.size = size

    async def drain(self, most: int = 0) -> None:
        """Wait until at most ``most`` bytes are queued, or the client has left."""
        while self.size > most and not self.broken:
            self._drained = trio.Event()
            await self._drained.wait()

    def _send_now(self, pieces: list[Piece]) -> list[Piece]:
        """Send pieces as far as the system accepts them. Return the rest."""
        try:
            if len(pieces) == 1:
                sent = os.write(self._file, pieces[0])
                if sent == len(pieces[0]):
                    return []
            else:
                if sum(map(len, pieces)) <= _MAX_JOINED:
                    pieces = [b"".join(pieces)]
                sent = os.writev(self._file, pieces[:_MAX_PIECES])
        except BlockingIOError:
            return pieces
        except OSError:
            self.fail()
            return []
        return _after(pieces, sent)

    async def _run(self) -> None:
        while not self.broken:
            if not self.size:
                self._drained.set()
                self._wakeup = trio.Event()
                await self._wakeup.wait()
                self._wakeup = None
            elif self._plain:
                try:
                    await trio.lowlevel.wait_writable(self._file)
                except trio.ClosedResourceError:
                    self.fail()
                    return
                self._pending = self._send_now(self._pending)
                self._progress()
            else:
                await self._send_over_tls()

    async def _send_over_tls(self) -> None:
        assert isinstance(self._stream, trio.SSLStream)
        data = b"".join(self._pending)
        piece, rest = data[:_TLS_PIECE], data[_TLS_PIECE:]
        self._pending = [memoryview(rest)] if rest else []
        try:
            await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.fail()
        self._progress()

    def _progress(self) -> None:
        self.active = True
        self.progressed_at = trio.current_time()
        self._resize(sum(map(len, self._pending)))
        self._drained.set()
        if self.on_progress is not None:
            self.on_progress()

    def fail(self) -> None:
        """Handle the client's departure."""
        if not self.broken:
            self.broken = True
            self._pending = []
            self._resize(0)
            self._drained.set()
            if self._wakeup is not None:
                self._wakeup.set()
            self._on_broken()

    def release(self) -> None:
        """End sending, and drop all references, so that no cycle remains."""
        self.broken = True
        self._resize(0)
        self.on_progress = None
        self._on_broken = _ignore
        self._nursery = None


def _ignore() -> None:
    """Do nothing, in place of a callback."""


def _after(pieces: list[Piece], sent: int) -> list[Piece]:
    """Return the pieces without their first ``sent`` bytes."""
    for number, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[number + 1 :]]
        sent -= len(piece)
    return []


def is_broken(stream: Stream) -> bool:
    """Return whether the client has reset the connection, or closed both sides."""
    return _polled(stream, _BROKEN)


def has_ended(stream: Stream) -> bool:
    """Return whether the client has closed its side. Its data may still be unread. Only Linux reports this."""
    return _polled(stream, _ENDED)


def has_data(stream: Stream) -> bool:
    """Return whether data, or the end of the client's side, has arrived and is unread."""
    return _polled(stream, select.POLLIN)


def _polled(stream: Stream, events: int) -> bool:
    number = socket_of(stream).fileno()
    if number < 0:
        return True  # this process has closed it
    poll = select.poll()
    poll.register(number, events)
    return any(found & events for _, found in poll.poll(0))


def reset(stream: Stream) -> None:
    """Close a connection so that its client sees an error, and drop unsent data."""
    sock = socket_of(stream)
    # Without time to linger, closing sends a reset.
    with suppress(OSError):  # Unix sockets do not have this option
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
