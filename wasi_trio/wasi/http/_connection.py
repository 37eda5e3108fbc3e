"""A connection to an origin server, which carries one request at a time."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Hashable

import h11
import trio

from wasi_trio.wasi.http._connect import Connected, from_broken
from wasi_trio.wasi.http._errors import HttpError

#: bytes of one receive
RECEIVE_SIZE = 64 << 10


class Connection:
    """A connection with its HTTP/1.1 state. ``key`` identifies the destination and the client.

    ``on_closed`` is called once, when the connection is closed.
    """

    __slots__ = (
        "_ended",
        "_fd",
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
        #: trio's time at which the idle connection expires
        self.idle_until = 0.0
        #: whether any byte of the current response has arrived
        self.received = False
        self._plain = isinstance(connected.stream, trio.SocketStream)
        self._fd = self.socket.fileno()
        #: the server has closed its direction
        self._ended = False
        self._on_closed: Callable[[], None] | None = on_closed

    @property
    def socket(self) -> trio.socket.SocketType:
        return self.stream.socket if isinstance(self.stream, trio.SocketStream) else self.stream.transport_stream.socket

    def close(self) -> None:
        """Close the connection at once. Neither TCP nor HTTP requires a wait."""
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            self.socket.close()
            on_closed()

    # ---- a request and its response ----------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send data. Not a checkpoint if the system accepts all of it. Raises trio.BrokenResourceError."""
        sent = 0
        if self._plain:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
        if sent < len(data):
            await self.stream.send_all(memoryview(data)[sent:])

    def next_event(self, in_body: bool) -> h11.Event | None:
        """Return the next event of the received data, or None if more data is necessary.

        ``in_body`` is true after the response's header section. Raises HttpError for invalid data.
        """
        try:
            event = self.protocol.next_event()
        except h11.RemoteProtocolError as error:
            raise self._response_error(error, in_body) from error
        if isinstance(event, h11.ConnectionClosed):
            # The connection was closed before the request was sent.
            raise HttpError("connection-terminated")
        return event if isinstance(event, h11.Event) else None

    def _response_error(self, error: h11.RemoteProtocolError, in_body: bool) -> HttpError:
        if self._ended:
            return HttpError("HTTP-response-incomplete" if self.received else "connection-terminated")
        if error.error_status_hint == 431:
            return HttpError("HTTP-response-trailer-section-size" if in_body else "HTTP-response-header-section-size")
        if error.error_status_hint == 501:
            return HttpError("HTTP-response-transfer-coding")
        return HttpError("HTTP-protocol-error")

    async def receive(self, seconds: float = math.inf) -> None:
        """Receive data, or the end, for ``next_event`` within ``seconds``. Raises HttpError."""
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
        # Not with the stream, whose overhead exceeds the cost of the system call.
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, RECEIVE_SIZE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    # ---- between two requests ----------------------------------------------------------------------------

    def next_cycle(self) -> None:
        """Prepare for the next request."""
        self.protocol.start_next_cycle()
        self.received = False

    def is_clean(self) -> bool:
        """Return whether both messages have ended, no data followed, and neither side announced the end."""
        protocol = self.protocol
        return protocol.our_state is protocol.their_state is h11.DONE and protocol.trailing_data == (b"", False)

    def is_silent(self) -> bool:
        """Return whether the server has neither closed the connection nor sent unrequested data."""
        try:
            os.read(self._fd, 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def has_empty_tls_buffer(self) -> bool:
        """Return whether TLS buffers nothing after the last response, neither data nor close_notify."""
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
