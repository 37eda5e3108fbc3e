"""What is sent over a connection: each thing whole, one after the other."""

from __future__ import annotations

import logging
import os
import socket
import struct
from contextlib import suppress
from typing import TypeAlias

import trio

from wasi_trio.wasi.http.body import Piece
from wasi_trio.wasi.stretch import Stretch

logger = logging.getLogger("wasi_trio.serve")

#: what bytes come and go by
Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"
#: bytes up to which it is cheaper to put together what is sent
_MOST_JOINED = 16 << 10
#: bytes to send over TLS at a time, which does not tell how many it has sent
_TLS_PIECE = 64 << 10


class Sender:
    """Sends what several tasks have for a stream.

    A client that takes nothing of it for ``timeout`` seconds has its connection reset.
    """

    def __init__(self, stream: Stream, timeout: float) -> None:
        self._stream = stream
        self._timeout = timeout
        self._lock = trio.Lock()
        #: what ``send_now`` has left
        self._rest: list[Piece] = []
        self._stretch = Stretch()
        #: the client took the last that was sent at once
        self._prompt = True

    async def send(self, pieces: list[Piece]) -> bool:
        """Send all of some pieces; false where the connection turns out to be broken, or is then.

        Cancelling this has an effect only before it begins to send: what was partly sent could never be completed,
        and what comes next would be read as its rest.
        """
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        pieces, self._rest = self._rest + pieces, []
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._timeout) as scope:
                await self._transmit(pieces, scope)
            if scope.cancelled_caught:
                logger.warning("a connection is closed: its client took nothing for %g s", self._timeout)
                reset(self._stream)
                return False
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError):
            # Busy it is, as others wait for the lock, with being closed.
            return False
        finally:
            self._lock.release()
        # Not before, or a guest would find this in its way that goes on meanwhile.
        await trio.lowlevel.cancel_shielded_checkpoint()
        return True

    async def _transmit(self, pieces: list[Piece], scope: trio.CancelScope) -> None:
        """Send all of some pieces, and put off the end of the scope as often as some of it could be sent."""
        stream = self._stream
        if isinstance(stream, trio.SocketStream):
            if len(pieces) > 1 and sum(map(len, pieces)) <= _MOST_JOINED:
                pieces = [b"".join(pieces)]
            self._prompt = True
            while pieces and (pieces := self._write(pieces)):
                self._prompt = False
                scope.deadline = trio.current_time() + self._timeout
                await trio.lowlevel.wait_writable(stream.socket.fileno())
        else:
            data = memoryview(b"".join(pieces))
            for start in range(0, len(data), _TLS_PIECE):
                scope.deadline = trio.current_time() + self._timeout
                await stream.send_all(data[start : start + _TLS_PIECE])

    def can_send_now(self) -> bool:
        """Whether it is the turn of ``send_now``: nothing else is being sent, the client takes it, others can wait."""
        return (
            self._prompt
            and not self._rest
            and not self._lock.locked()
            and isinstance(self._stream, trio.SocketStream)
            and self._stretch.goes_on()
        )

    def send_now(self, pieces: list[Piece]) -> bool:
        """Send what can be sent without waiting; false if ``send`` is to be called, for the rest or to fail."""
        self._rest = pieces
        with suppress(OSError):
            self._rest = self._write(pieces)
        if self._rest:
            self._prompt = False
            self._stretch.end()
        return not self._rest

    def _write(self, pieces: list[Piece]) -> list[Piece]:
        """Send what can be sent of some pieces at once; what is left of them."""
        try:
            sent = os.writev(transport_of(self._stream).socket.fileno(), pieces)
        except BlockingIOError:
            return pieces
        return _rest(pieces, sent)


def _rest(pieces: list[Piece], sent: int) -> list[Piece]:
    """What is left of some pieces when so many bytes of them are sent."""
    for number, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[number + 1 :]]
        sent -= len(piece)
    return []


def reset(stream: Stream) -> None:
    """Close a connection so that its client sees it break, and drop what was not sent."""
    transport = transport_of(stream)
    # A lingering time of none makes closing a reset, where it would have been an orderly end.
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.socket.close()


def transport_of(stream: Stream) -> trio.SocketStream:
    """The socket's stream below TLS, if there is that."""
    return stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
