"""What connections of either protocol have in common: their socket, their tasks, their times, their end."""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
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
from wasi_trio.serve.http._transport import Input, Output, Stream, has_ended, is_broken, reset, socket_of
from wasi_trio.serve.http._turns import Turns
from wasi_trio.wasi.http._errors import HttpError

logger = get_logger("wasi_trio.serve")

#: seconds for which a client may go on to send when its connection is over, and for TLS to say that it is
LINGER = 2.0
#: bytes of that which are read, and dropped
MOST_LINGERED = 256 << 10


class Phase(IntEnum):
    """How far a server is with its end."""

    SERVING = 0
    #: requests are taken, and clients told to send further ones elsewhere
    LEAVING = 1
    #: requests under way are the last
    STOPPING = 2


@dataclass(slots=True)
class Front:
    """What the connections of a server share. ``service`` answers a request; it must not wait."""

    service: Callable[[HttpStream], None]
    limits: ConnectionLimits
    turns: Turns
    #: what connections hold is counted in
    account: Account
    access_log: AccessLog | None = None
    phase: Phase = Phase.SERVING


class Connection(ABC):
    """One client's connection, served by ``run`` until it ends."""

    def __init__(self, stream: Stream, front: Front, nursery: trio.Nursery) -> None:
        self.stream = stream
        self.front = front
        self.limits = front.limits
        self.nursery = nursery
        self.input = Input(stream)
        self.output = Output(stream, nursery, self.client_left, front.account)
        #: when, in trio's time, ``expire`` is called
        self.deadline = trio.current_time() + self.limits.keep_alive_timeout
        #: since when nothing was sent to a client that has ended its side
        self.half_closed_since = math.inf
        #: the client's address and port, where it has any
        self.peer = _peer_of(stream)
        #: why a request that is under way loses its client
        self.reason = HttpError("connection-terminated")
        self.scheme = "http" if isinstance(stream, trio.SocketStream) else "https"

    @abstractmethod
    async def run(self, data: bytes = b"") -> bytes | None:
        """Serve the connection to its end. ``data`` was received already.

        What is returned, if anything, is for the other protocol.
        """

    @abstractmethod
    def client_left(self) -> None:
        """The client is gone: tell the requests under way, and end."""

    @abstractmethod
    def expire(self) -> None:
        """The deadline has passed."""

    @abstractmethod
    def leave(self) -> None:
        """The server ends soon: tell the client, as soon as the protocol can, to send further requests elsewhere."""

    @abstractmethod
    def stop(self) -> None:
        """The server ends: take no more requests."""

    @property
    def local_address(self) -> str:
        """The address that the client connected to, as an authority; empty for a Unix socket."""
        name = socket_of(self.stream).getsockname()
        if not isinstance(name, tuple):
            return ""
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    def check(self, now: float) -> None:
        """See to the times that are over; called now and then."""
        limits, output = self.limits, self.output
        if output.size and now >= output.progressed_at + limits.send_timeout:
            logger.warning("a connection is closed: its client took nothing for %g s", limits.send_timeout)
            self.reason = HttpError("connection-write-timeout")
            self.cut()
        elif now >= self.deadline:
            self.deadline = math.inf
            self.expire()
        elif output.active:
            output.active = False
            if self.half_closed_since < math.inf:
                self.half_closed_since = now
        elif now >= self.half_closed_since + limits.half_closed_timeout:
            self.cut()

    def serve(self, stream: HttpStream) -> None:
        """Have a request answered; what fails there is the server's fault, and reaches that request alone."""
        try:
            self.front.service(stream)
        except Exception:
            logger.exception("a request failed in the server")
            content = b"Internal Server Error\n"
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            stream.send_whole(ResponseHead(500, headers), content, None)

    def release(self) -> None:
        """The connection has ended: refer to nobody, so that no cycle is left to garbage collection."""
        self.output.release()
        del self.nursery

    def log(self, stream: HttpStream, head: ResponseHead, began_at: float) -> None:
        """Tell the access log, if there is one, of a response that is over."""
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

    def tell_refused(self, error: BadRequest) -> None:
        """A client has sent what is no request: nothing else tells of that, the access log neither."""
        who = "a client" if self.peer is None else self.peer[0]
        logger.info("what %s sent is refused as no request (%d): %s", who, error.status, shown(str(error)))

    def look_up(self) -> None:
        """See whether the client has left, where what it sends is not read; called now and then."""
        if is_broken(self.stream):
            self.cut()
        elif has_ended(self.stream):
            self.client_ended()

    def client_ended(self) -> None:
        """The client of a request has ended its side; it may be gone, or only have nothing more to send."""
        if not self.limits.half_closed_timeout:
            self.cut()
        elif self.half_closed_since == math.inf:
            self.half_closed_since = trio.current_time()

    def cut(self) -> None:
        """End at once; the client sees that the connection is broken."""
        if not self.output.broken:
            reset(self.stream)
            self.output.fail()

    async def linger(self) -> None:
        """Close in good order: send what is queued, say that nothing follows, and read for a while.

        A socket that closes with something unread is reset by the system, and the client may lose what it was sent
        (RFC 9112, section 9.6).
        """
        await self.output.drain()
        with trio.move_on_after(LINGER):
            if isinstance(self.stream, trio.SSLStream):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                    await self.stream.aclose()
                return
            with suppress(OSError):
                socket_of(self.stream).shutdown(socket.SHUT_WR)
            left = MOST_LINGERED
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while left > 0 and (data := await self.input.receive()):
                    left -= len(data)


def _peer_of(stream: Stream) -> tuple[str, int] | None:
    try:
        name = socket_of(stream).getpeername()
    except OSError:
        return None  # it is gone already
    return (name[0], name[1]) if isinstance(name, tuple) else None
