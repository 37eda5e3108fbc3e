"""One connection to an origin server, over which requests go one after the other."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Hashable

import h11
import trio

from wasi_trio.wasi.http._connect import Connected, from_broken
from wasi_trio.wasi.http._errors import HttpError

#: bytes asked of the network at once
RECEIVE_SIZE = 64 << 10


class Connection:
    """A connection, with what HTTP/1.1 is at there. ``key`` says to whom it leads, and on whose terms.

    ``on_closed`` is called once it is closed.
    """

    __slots__ = (
        "_ended",
        "_file",
        "_on_closed",
        "_plain",
        "address",
        "idle_until",
        "key",
        "opened_at",
        "protocol",
        "received",
        "stream",
    )

    def __init__(self, connected: Connected, key: Hashable, max_head: int, on_closed: Callable[[], None]) -> None:
        self.stream = connected.stream
        #: the IP address of the server
        self.address = connected.address
        self.key = key
        self.protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_head)
        self.opened_at = trio.current_time()
        #: when, in trio's time, it is given up unless somebody uses it
        self.idle_until = 0.0
        #: some of the present request's response has come
        self.received = False
        self._plain = isinstance(connected.stream, trio.SocketStream)
        self._file = self.socket.fileno()
        #: its server sends nothing more
        self._ended = False
        self._on_closed: Callable[[], None] | None = on_closed

    @property
    def socket(self) -> trio.socket.SocketType:
        return self.stream.socket if isinstance(self.stream, trio.SocketStream) else self.stream.transport_stream.socket

    def close(self) -> None:
        """Close it, at once and without a word: neither TCP nor HTTP has one to wait for."""
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            self.socket.close()
            on_closed()

    # ---- a request and its response ----------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send data; no checkpoint where the system takes all of it. Raises trio.BrokenResourceError."""
        sent = 0
        if self._plain:
            try:
                sent = os.write(self._file, data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
        if sent < len(data):
            await self.stream.send_all(memoryview(data)[sent:])

    def next_event(self, in_body: bool) -> h11.Event | None:
        """What the server has said next, of what was received; None where more has to be received.

        ``in_body`` says whether the head of a response was among it. Raises HttpError for what is no response.
        """
        try:
            event = self.protocol.next_event()
        except h11.RemoteProtocolError as error:
            raise self._no_response(error, in_body) from error
        if isinstance(event, h11.ConnectionClosed):
            # Before the request went out.
            raise HttpError("connection-terminated")
        return event if isinstance(event, h11.Event) else None

    def _no_response(self, error: h11.RemoteProtocolError, in_body: bool) -> HttpError:
        if self._ended:
            return HttpError("HTTP-response-incomplete" if self.received else "connection-terminated")
        if error.error_status_hint == 431:
            return HttpError("HTTP-response-trailer-section-size" if in_body else "HTTP-response-header-section-size")
        if error.error_status_hint == 501:
            return HttpError("HTTP-response-transfer-coding")
        return HttpError("HTTP-protocol-error")

    async def receive(self, seconds: float = math.inf) -> None:
        """Receive something for ``next_event``, if only the end, within so many seconds; raises HttpError."""
        data: bytes | None = None
        try:
            if seconds == math.inf:
                data = await self._receive()
            else:
                with trio.move_on_after(seconds):
                    data = await self._receive()
        except trio.BrokenResourceError as error:
            raise from_broken(error) from error
        if data is None:
            raise HttpError("connection-read-timeout")
        self._ended = not data
        self.received = self.received or not self._ended
        self.protocol.receive_data(data)

    async def _receive(self) -> bytes:
        if not self._plain:
            return bytes(await self.stream.receive_some(RECEIVE_SIZE))
        # Not by the stream: what that does besides costs more than the system call.
        while True:
            await trio.lowlevel.wait_readable(self._file)
            try:
                return os.read(self._file, RECEIVE_SIZE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    # ---- between two requests ----------------------------------------------------------------------------

    def next_cycle(self) -> None:
        """Another request follows."""
        self.protocol.start_next_cycle()
        self.received = False

    def is_clean(self) -> bool:
        """Whether both messages of a request have ended, nothing followed, and neither side announced the end."""
        protocol = self.protocol
        return protocol.our_state is protocol.their_state is h11.DONE and protocol.trailing_data == (b"", False)

    def is_silent(self) -> bool:
        """Whether the server has neither closed it nor sent anything that nobody asked for."""
        try:
            os.read(self._file, 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def holds_nothing(self) -> bool:
        """Whether TLS has nothing left that came behind the last response, or the server's good-bye."""
        stream = self.stream
        if not isinstance(stream, trio.SSLStream):
            return True
        stream.transport_stream.waits = False
        try:
            await stream.receive_some(1)
        except trio.WouldBlock:
            return True
        except (trio.BrokenResourceError, ssl.SSLError):
            return False
        finally:
            stream.transport_stream.waits = True
        return False
