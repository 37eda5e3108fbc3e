"""A connection's bytes: received in pieces that grow with what comes, sent without waiting as far as that goes."""

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

#: what bytes come and go by
Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"

#: bytes to read at a time, at first, and from a connection that always has more
LEAST_READ = 16 << 10
MOST_READ = 512 << 10
#: bytes up to which it is cheaper to join what is sent
_MOST_JOINED = 16 << 10
#: pieces that one system call takes
_MOST_PIECES = 512
#: bytes to send over TLS at a time: trio does not say how many of them were taken meanwhile
_TLS_PIECE = 64 << 10
#: events by which the system tells that a peer has left; Linux alone tells the orderly end of one side
_BROKEN = select.POLLHUP | select.POLLERR
_ENDED = getattr(select, "POLLRDHUP", 0)


def socket_of(stream: Stream) -> trio.socket.SocketType:
    """The socket below, also below TLS."""
    return (stream if isinstance(stream, trio.SocketStream) else stream.transport_stream).socket


class Input:
    """Receives from a stream, in larger pieces while so much comes: the cost of one hardly depends on its size."""

    __slots__ = ("_file", "_plain", "_size", "_stream", "_widened", "largest")

    def __init__(self, stream: Stream, largest: int = MOST_READ) -> None:
        self._stream = stream
        self._plain = isinstance(stream, trio.SocketStream)
        self._file = socket_of(stream).fileno()
        self._size = LEAST_READ
        self._widened = False
        self.largest = largest

    @property
    def is_plain(self) -> bool:
        """Whether ``receive_now`` works: there is no TLS."""
        return self._plain

    async def receive(self, most: int = MOST_READ) -> bytes:
        """Some bytes, or none at the end. Raises trio.BrokenResourceError and trio.ClosedResourceError."""
        if not self._plain:
            return bytes(await self._stream.receive_some(min(self._size, most)))
        while True:
            await self.wait()
            data = self.receive_now(most)
            if data is not None:
                return data

    async def wait(self) -> None:
        """Wait until ``receive_now`` has something."""
        await trio.lowlevel.wait_readable(self._file)

    def receive_now(self, most: int = MOST_READ) -> bytes | None:
        """What is there, as ``receive`` returns it; None if nothing is."""
        size = min(self._size, most)
        try:
            data = os.read(self._file, size)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if len(data) == size:
            self._grow(size)
        elif self._size > LEAST_READ:
            self._size = max(len(data), LEAST_READ)
        return data

    def _grow(self, size: int) -> None:
        self._size = min(2 * size, self.largest)
        if size > LEAST_READ and not self._widened:
            self._widened = True
            _widen(socket_of(self._stream))


def _widen(sock: trio.socket.SocketType) -> None:
    """Have the system hold as much as is read at a time.

    Linux by itself holds about as much as was read lately, so that a fast reader gets many small pieces. Told to wake a
    reader only for so much, it makes room for that, and keeps the room when told otherwise.
    """
    with suppress(OSError):  # not every system has this
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, MOST_READ)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


class Output:
    """Sends what it is given in that order: at once as far as the system takes it, the rest by a task.

    The task is started in ``nursery`` when it is first needed. ``on_broken`` is called once, when the client turns out
    to be gone, in whatever task finds that out.
    """

    def __init__(
        self, stream: Stream, nursery: trio.Nursery, on_broken: Callable[[], None], account: Account | None = None
    ) -> None:
        #: called when the client has taken some of what was queued
        self.on_progress: Callable[[], None] | None = None
        self._stream = stream
        self._file = socket_of(stream).fileno()
        self._plain = isinstance(stream, trio.SocketStream)
        #: None once it is released
        self._nursery: trio.Nursery | None = nursery
        self._on_broken = on_broken
        self._pending: list[Piece] = []
        #: bytes that are queued, and counted in the account
        self.size = 0
        self._account = Account() if account is None else account
        #: nothing is sent any more
        self.broken = False
        #: when the client last took some of what is queued
        self.progressed_at = -math.inf
        #: something was sent since this was last set to false
        self.active = False
        self._drained = trio.Event()
        self._wakeup: trio.Event | None = None
        self._running = False

    def write(self, pieces: list[Piece]) -> bool:
        """Send pieces, which must not change; what the system does not take at once is queued, however much it is.

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
        """Wait until at most so many bytes are queued, or the client is gone."""
        while self.size > most and not self.broken:
            self._drained = trio.Event()
            await self._drained.wait()

    def _send_now(self, pieces: list[Piece]) -> list[Piece]:
        """What is left of some pieces when the system has taken what it takes."""
        try:
            if len(pieces) == 1:
                sent = os.write(self._file, pieces[0])
            else:
                if sum(map(len, pieces)) <= _MOST_JOINED:
                    pieces = [b"".join(pieces)]
                sent = os.writev(self._file, pieces[:_MOST_PIECES])
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
        """The client is gone."""
        if not self.broken:
            self.broken = True
            self._pending = []
            self._resize(0)
            self._drained.set()
            if self._wakeup is not None:
                self._wakeup.set()
            self._on_broken()

    def release(self) -> None:
        """Nothing is sent any more: refer to nobody, so that no cycle is left to garbage collection."""
        self.broken = True
        self._resize(0)
        self.on_progress = None
        self._on_broken = _tell_nobody
        self._nursery = None


def _tell_nobody() -> None:
    """What is called where nobody is to be told."""


def _after(pieces: list[Piece], sent: int) -> list[Piece]:
    """What is left of some pieces when so many bytes of them are sent."""
    for number, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[number + 1 :]]
        sent -= len(piece)
    return []


def is_broken(stream: Stream) -> bool:
    """Whether the client has reset the connection, or closed it altogether."""
    return _polled(stream, _BROKEN)


def has_ended(stream: Stream) -> bool:
    """Whether the client has ended its side, which is read only behind everything that it sent; Linux alone tells."""
    return _polled(stream, _ENDED)


def _polled(stream: Stream, events: int) -> bool:
    number = socket_of(stream).fileno()
    if number < 0:
        return True  # it was closed here meanwhile
    poll = select.poll()
    poll.register(number, _BROKEN | _ENDED)
    return any(found & events for _, found in poll.poll(0))


def reset(stream: Stream) -> None:
    """Close a connection so that its client sees it break, and drop what was not sent."""
    sock = socket_of(stream)
    # With no time to linger, closing is a reset in place of an orderly end.
    with suppress(OSError):  # a Unix socket has no such thing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
