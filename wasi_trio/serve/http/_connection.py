"""The common part of HTTP/1 and HTTP/2 connections: the socket, the tasks, the timeouts and the end."""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

import trio

from wasi_trio._texts import get_logger, shown
from wasi_trio.component._account import Account
from wasi_trio.serve.http._access_log import AccessLog, AccessRecord
from wasi_trio.serve.http._heads import BadRequest
from wasi_trio.serve.http._limits import ConnectionLimits
from wasi_trio.serve.http._stream import HttpStream, ResponseHead
from wasi_trio.serve.http._transport import Input, Output, Stream, has_data, has_ended, is_broken, reset, socket_of
from wasi_trio.serve.http._turns import Turns
from wasi_trio.wasi.http._errors import HttpError

logger = get_logger("wasi_trio.serve")

#: The time for reading from a client after the end of its connection, and for the end of TLS, in seconds.
LINGER = 2.0
#: The number of bytes read and dropped in that time.
MAX_LINGER_SIZE = 256 << 10


class Phase(IntEnum):
    """The phase of a server's shutdown."""

    SERVING = 0
    #: The server accepts requests, and tells clients to send further ones elsewhere.
    LEAVING = 1
    #: The server finishes active requests, and accepts no more.
    STOPPING = 2


@dataclass(slots=True)
class Front:
    """The state shared by a server's connections.

    ``service`` answers a request, and must not wait. ``fields`` returns further fields for the responses that the
    connections make by themselves.
    """

    service: Callable[[HttpStream], None]
    limits: ConnectionLimits
    turns: Turns
    #: The account that counts the memory held by connections.
    account: Account
    access_log: AccessLog | None = None
    fields: Callable[[], list[tuple[bytes, bytes]]] = list
    phase: Phase = Phase.SERVING


class Connection(ABC):
    """A client's connection, served by ``run`` until its end."""

    def __init__(self, stream: Stream, front: Front, nursery: trio.Nursery) -> None:
        self.stream = stream
        self.front = front
        self.limits = front.limits
        #: None after the release.
        self._nursery: trio.Nursery | None = nursery
        self.input = Input(stream)
        self.output = Output(stream, nursery, self.client_left, front.account)
        #: The time at which ``expire`` is called, in trio's time.
        self.deadline = trio.current_time() + self.limits.keep_alive_timeout
        #: Whether unread data spared the connection at the last check, after its deadline. It does so once.
        self._is_spared = False
        #: The time of the last byte sent to a client that has closed its side.
        self.half_closed_since = math.inf
        #: The client's address and port, if it has any.
        self.peer = _peer_of(stream)
        #: The error for an active request that loses its client.
        self.reason = HttpError("connection-terminated")
        self.scheme = "http" if isinstance(stream, trio.SocketStream) else "https"

    @abstractmethod
    async def run(self, data: bytes = b"") -> bytes | None:
        """Serve the connection to its end. ``data`` was already received.

        Return received bytes for the other protocol, if the client speaks that.
        """

    @abstractmethod
    def client_left(self) -> None:
        """Report the client's departure to active requests, and end the connection."""

    @abstractmethod
    def expire(self) -> None:
        """Handle the passing of the deadline."""

    @abstractmethod
    def leave(self) -> None:
        """Tell the client to send further requests elsewhere, as soon as the protocol allows it."""

    @abstractmethod
    def stop(self) -> None:
        """Accept no more requests."""

    @property
    def local_address(self) -> str:
        """The address that the client connected to, as an authority. Empty for a Unix socket."""
        name = socket_of(self.stream).getsockname()
        if not isinstance(name, tuple):
            return ""
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    def check(self, now: float) -> None:
        """Handle expired timeouts. The server calls this at intervals."""
        limits, output = self.limits, self.output
        is_late = now >= self.deadline
        # After a standstill of the process, a request may have arrived that the task has not read yet.
        self._is_spared = is_late and not self._is_spared and has_data(self.stream)
        if output.size and now >= output.progressed_at + limits.send_timeout:
            logger.warning("Closed a connection: no progress in sending for %g s", limits.send_timeout)
            self.reason = HttpError("connection-write-timeout")
            self.cut()
        elif is_late and not self._is_spared:
            self.deadline = math.inf
            self.expire()
        elif output.active:
            output.active = False
            if self.half_closed_since < math.inf:
                self.half_closed_since = now
        elif now >= self.half_closed_since + limits.half_closed_timeout:
            self.cut()

    def serve(self, stream: HttpStream) -> None:
        """Have a request answered. An exception is a fault of the server, and affects this request alone."""
        try:
            self.front.service(stream)
        except Exception:
            logger.exception("A request failed in the server")
            stream.send_whole(*self.own_answer(500, "Internal Server Error", stream.request.method), None)

    def own_answer(self, status: int, text: str, method: str) -> tuple[ResponseHead, bytes]:
        """Return the head and the content of a response without a service."""
        content = f"{text}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(content)),
            *self.front.fields(),
        ]
        bodiless = method == "HEAD"
        return ResponseHead(status, headers, len(content), bodiless), b"" if bodiless else content

    def release(self) -> None:
        """Drop all references at the end of the connection, so that no cycle remains."""
        self.output.release()
        self._nursery = None

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a task that ends with the connection."""
        assert self._nursery is not None
        self._nursery.start_soon(work)

    def end_tasks(self) -> None:
        """Cancel the connection's tasks."""
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def log(self, stream: HttpStream, head: ResponseHead, began_at: float) -> None:
        """Write a finished response to the access log, if enabled."""
        if self.front.access_log is None:
            return
        request = stream.request
        record = AccessRecord(
            stream.client,
            stream.version,
            request.method,
            request.scheme or self.scheme,
            request.path_with_query or "/",
            request.headers,
            head.status,
            head.headers,
            trio.current_time() - began_at,
            {} if stream.about is None else stream.about(),
        )
        stream.about = None
        self.front.access_log(record)

    def log_refused(self, error: BadRequest) -> None:
        """Log a malformed request, which the access log does not contain."""
        client = "a client" if self.peer is None else self.peer[0]
        logger.info("Refused a malformed request of %s (%d): %s", client, error.status, shown(str(error)))

    def poll_client(self) -> None:
        """Check whether the client has left, while the server does not read from it."""
        if is_broken(self.stream):
            self.cut()
        elif has_ended(self.stream):
            self.client_ended()

    def client_ended(self) -> None:
        """Handle the end of the client's side. The client may have left, or may have nothing more to send."""
        if not self.limits.half_closed_timeout:
            self.cut()
        elif self.half_closed_since == math.inf:
            self.half_closed_since = trio.current_time()

    def cut(self) -> None:
        """Close the connection at once, so that the client sees an error."""
        if not self.output.broken:
            reset(self.stream)
            self.output.fail()

    async def linger(self) -> None:
        """Close in order: send the queued data, end the sending side, and read for a while.

        If a socket closes with unread data, the system resets the connection. The client may then lose the end of its
        response (RFC 9112, section 9.6).
        """
        await self.output.drain()
        with trio.move_on_after(LINGER):
            if isinstance(self.stream, trio.SSLStream):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                    await self.stream.aclose()
                return
            with suppress(OSError):
                socket_of(self.stream).shutdown(socket.SHUT_WR)
            left = MAX_LINGER_SIZE
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while left > 0 and (data := await self.input.receive()):
                    left -= len(data)


def _peer_of(stream: Stream) -> tuple[str, int] | None:
    try:
        name = socket_of(stream).getpeername()
    except OSError:
        return None  # the client has left already
    return (name[0], name[1]) if isinstance(name, tuple) else None
