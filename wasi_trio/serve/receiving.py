"""What is received over a connection, and the content of a request over HTTP/1 on its way to its body."""

from __future__ import annotations

import math
import os
import select
import socket
from contextlib import suppress

import trio

from wasi_trio.serve.http1 import Http1Connection
from wasi_trio.serve.sending import Stream, transport_of
from wasi_trio.serve.upload import Upload
from wasi_trio.wasi.http.body import BodyClosed
from wasi_trio.wasi.stretch import Stretch

#: bytes to read at a time from a connection, at first, and where it has more
_LEAST_READ = 16 << 10
_MOST_READ = 512 << 10
#: bytes that a request's body has room for when more is received for it
_LEAST_ROOM = 64 << 10
#: seconds after which a connection is looked at that is not read, as a guest does not read its request: by itself its
#: end is only seen behind all that was sent
_LOOK_UP = 1.0
#: what there is to see of a client that has left; only Linux has the word for one that left in good order
_LEFT = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Receiver:
    """Receives from a stream, in larger pieces while so much comes: what one costs hardly depends on its size.

    Where nothing comes for ``timeout`` seconds this raises trio.TooSlowError.
    """

    def __init__(self, stream: Stream, timeout: float | None) -> None:
        self.stream = stream
        self.timeout = math.inf if timeout is None else timeout
        self._size = _LEAST_READ
        #: around what ``wait`` waits for
        self._waiting = trio.CancelScope()
        #: much comes by it, and the system knows
        self._widened = False

    async def receive(self, most: int = _MOST_READ) -> bytes:
        """Some bytes, or none at the end."""
        size = min(self._size, most)
        if self.timeout == math.inf:
            data = await self.stream.receive_some(size)
        else:
            with trio.fail_after(self.timeout):
                data = await self.stream.receive_some(size)
        self._learn(size, len(data))
        return bytes(data)

    def receive_now(self, most: int) -> bytes | None:
        """As ``receive``, but None where nothing is there yet. Raises OSError. Not for TLS."""
        size = min(self._size, most)
        try:
            data = os.read(transport_of(self.stream).socket.fileno(), size)
        except BlockingIOError:
            return None
        self._learn(size, len(data))
        if self.timeout < math.inf:
            self._waiting.deadline = trio.current_time() + self.timeout
        return data

    async def wait(self) -> None:
        """Wait until there is something for ``receive_now``, which may be called meanwhile."""
        with trio.fail_after(self.timeout) as self._waiting:
            await trio.lowlevel.wait_readable(transport_of(self.stream).socket.fileno())

    def _learn(self, wanted: int, received: int) -> None:
        if received < wanted:
            self._size = max(received, _LEAST_READ)
        else:
            self._size = min(2 * wanted, _MOST_READ)
            if wanted > _LEAST_READ and not self._widened:
                self._widened = True
                _widen(transport_of(self.stream).socket)


class ContentReceiver:
    """Receives the content of one request over HTTP/1 into its body, all but the last of it.

    A reader that finds nothing there has it receive what the system has at once, in the host function in which it asks
    for it: it need not wait for the event loop, which costs more than all else that is done with so many bytes. Where
    the system has nothing, what was written of the answer goes out first; it takes a while, in which more may come.
    """

    def __init__(self, receiver: Receiver, http1: Http1Connection, upload: Upload) -> None:
        self._receiver = receiver
        self._http1 = http1
        self._upload = upload
        self._body = upload.body
        #: what was received after the content, once that is there; empty where the connection has ended
        self._rest: bytes | None = None
        #: there is content that was received and has yet to be decoded
        self._undecoded = False
        self._stretch = Stretch()
        #: around what ``run`` waits for
        self._waiting = trio.CancelScope()

    async def run(self) -> bytes:
        """Receive it, and return what was received after it. Raises what trio's streams and ``Receiver`` raise."""
        receiver, body = self._receiver, self._body
        at_once = isinstance(receiver.stream, trio.SocketStream)
        if at_once:
            body.on_starved = self._on_starved
        try:
            while self._rest is None:
                if not self._has_room():
                    if not await self._wait_for_room() and has_left(receiver.stream):
                        return b""
                elif self._undecoded:
                    self._take(b"")
                    await trio.lowlevel.checkpoint()
                elif not at_once:
                    self._accept(await receiver.receive(self._most()))
                elif self._receive():
                    await trio.lowlevel.checkpoint()
                else:
                    with trio.CancelScope() as self._waiting:
                        await receiver.wait()
        except OSError as error:
            raise trio.BrokenResourceError from error
        finally:
            body.on_starved = None
        return self._rest

    def _has_room(self) -> bool:
        # What nobody reads is dropped: a client may be one that reads only once it has sent everything.
        body = self._body
        return body.closed or body.finished or body.capacity - body.buffered >= _LEAST_ROOM

    async def _wait_for_room(self) -> bool:
        """Wait for room in the body, but not for long; whether there is some, or nobody wants it, or all is there."""
        with trio.move_on_after(_LOOK_UP) as self._waiting:
            await self._body.wait_permit(_LEAST_ROOM)
        return not self._waiting.cancelled_caught or self._rest is not None

    def _most(self) -> int:
        return self._body.permit() or _MOST_READ

    def _receive(self) -> bool:
        """Take what is there; whether anything was."""
        data = self._receiver.receive_now(self._most())
        if data is None:
            return False
        self._accept(data)
        return True

    def _accept(self, data: bytes) -> None:
        if data:
            self._take(data)
        else:
            self._rest = data

    def _take(self, data: bytes) -> None:
        pieces, self._rest = self._http1.split(data)
        with suppress(BodyClosed):
            self._body.write_pieces(pieces)
        self._undecoded = bool(pieces) and self._rest is None and self._http1.undecoded

    def _on_starved(self) -> None:
        """The body's reader finds nothing in it."""
        if self._rest is not None or not self._stretch.goes_on():
            return
        try:
            if self._undecoded:
                self._take(b"")
            elif not self._receive() and not (self._upload.answer_now() and self._receive()):
                self._stretch.end()
        except OSError:
            return  # ``run`` finds it as well
        except BaseException:
            # A host function that was interrupted in the middle of this: nobody knows what was lost of the content.
            self._rest = b""
            raise
        finally:
            if self._rest is not None:
                self._waiting.cancel()


def has_left(stream: Stream) -> bool:
    """Whether the client has ended a connection from which there is still something to read."""
    number = transport_of(stream).socket.fileno()
    if number < 0:
        return True  # it was closed here meanwhile
    poll = select.poll()
    poll.register(number, _LEFT)
    return bool(poll.poll(0))


def _widen(sock: trio.socket.SocketType) -> None:
    """Have the system hold as much as is read at a time.

    By itself Linux holds no more than was read lately, so that who reads fast gets many small pieces. Being told to
    wake a reader for so much only, it makes room for that, and keeps it when told otherwise.
    """
    with suppress(OSError):  # of a system that has no such thing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _MOST_READ)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
