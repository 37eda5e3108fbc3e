"""Connections to the origin server of an outgoing request: DNS, TCP and TLS, with failures as WASI error codes."""

from __future__ import annotations

import errno
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.http._errors import DNSErrorPayload, HttpError, TLSAlertReceivedPayload

#: seconds before the client tries the next address of a host concurrently (RFC 8305, section 5)
ATTEMPT_DELAY = 0.25

#: decides whether a guest may connect to an IP address
AllowAddress = Callable[[str], bool]

#: bytes of one read below TLS
_TLS_READ_SIZE = 64 << 10


class Beneath(trio.abc.Stream):
    """The socket beneath TLS, with a non-blocking mode."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket
        #: whether a receive waits for bytes; otherwise it raises trio.WouldBlock
        self.waits = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self.waits:
            raise trio.WouldBlock
        return bytes(await self._stream.receive_some(max_bytes or _TLS_READ_SIZE))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


#: a byte stream to a server
Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[Beneath]"


class Connected(NamedTuple):
    """A stream to a host, and the IP address of its peer."""

    stream: Stream
    address: str


_CASES = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-terminated",
    errno.EPIPE: "connection-terminated",
    errno.ETIMEDOUT: "connection-timeout",
    errno.ENETUNREACH: "destination-IP-unroutable",
    errno.EHOSTUNREACH: "destination-IP-unroutable",
    errno.EADDRNOTAVAIL: "destination-unavailable",
    errno.ENETDOWN: "destination-unavailable",
    errno.EMFILE: "connection-limit-reached",
    errno.ENFILE: "connection-limit-reached",
}


@functools.lru_cache(maxsize=1)
def default_tls_context() -> ssl.SSLContext:
    """Return a TLS client context with the system's trust store, cached because loading takes milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(
    host: str, port: int, tls: ssl.SSLContext | None, seconds: float, allow_address: AllowAddress | None = None
) -> Connected:
    """Connect to a host, with TLS if ``tls`` is a context.

    All steps together take at most ``seconds``. Raises HttpError. Cancellation leaves nothing open.
    """
    looked_up = False
    with trio.move_on_after(seconds):
        addresses = await _look_up(host, port)
        looked_up = True
        if allow_address is not None:
            addresses = [address for address in addresses if allow_address(address[1][0])]
            if not addresses:
                raise HttpError("destination-IP-prohibited")
        sock, address = await _connect_any(addresses)
        stream = trio.SocketStream(sock)
        if tls is None:
            return Connected(stream, address)
        return Connected(await _handshake(stream, tls, host), address)
    raise HttpError("connection-timeout" if looked_up else "DNS-timeout")


async def _look_up(host: str, port: int) -> list[tuple[int, Any]]:
    """Resolve a host to (family, socket address) pairs, in the resolver's order of preference."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise HttpError("DNS-error", DNSErrorPayload(rcode=error.strerror)) from error
    except UnicodeError as error:
        raise HttpError("HTTP-request-URI-invalid") from error
    except OSError as error:
        raise from_os_error(error) from error
    return [(family, address) for family, _, _, _, address in found]


async def _connect_any(addresses: list[tuple[int, Any]]) -> tuple[trio.socket.SocketType, str]:
    """Return a socket connected to the first address that answers, and that address. Each address has a head start.

    Attempts after the first count as guests' descriptors. The caller has reserved the descriptor of the first.
    """
    winner: trio.socket.SocketType | None = None
    where = ""
    failures: list[OSError] = []
    scope = trio.CancelScope()

    async def attempt(family: int, address: Any, failed: trio.Event, counted: bool) -> None:
        nonlocal winner, where
        try:
            if counted:
                GUESTS.reserve()
        except OSError as error:
            failures.append(error)
            failed.set()
            return
        try:
            sock = trio.socket.socket(family, socket.SOCK_STREAM)
            try:
                await sock.connect(address)
                if winner is None:
                    winner, where = sock, address[0]
                    scope.cancel()
            finally:
                if sock is not winner:
                    sock.close()
        except OSError as error:
            failures.append(error)
            failed.set()
        finally:
            if counted:
                GUESTS.release()

    try:
        with scope:
            async with trio.open_nursery() as nursery:
                for number, (family, address) in enumerate(addresses):
                    failed = trio.Event()
                    nursery.start_soon(attempt, family, address, failed, number > 0)
                    with trio.move_on_after(ATTEMPT_DELAY):
                        await failed.wait()
    except BaseException:
        # For example, a cancellation at the same time as the connection.
        if winner is not None:
            winner.close()
        raise
    if winner is None:
        # The last failure says most: without IPv6, the first one only reports that.
        raise from_os_error(failures[-1]) from failures[-1]
    return winner, where


async def _handshake(stream: trio.SocketStream, context: ssl.SSLContext, host: str) -> trio.SSLStream[Beneath]:
    secure = trio.SSLStream(Beneath(stream), context, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException as error:
        # A cancellation too: close the socket at once, without TLS's close_notify.
        stream.socket.close()
        if isinstance(error, trio.BrokenResourceError):
            raise from_broken(error) from error
        raise
    return secure


def from_os_error(error: OSError) -> HttpError:
    """Return WASI's error for an error of the operating system."""
    case = _CASES.get(error.errno or 0)
    if case is not None:
        return HttpError(case)
    return HttpError("internal-error", error.strerror or str(error))


def from_broken(error: trio.BrokenResourceError) -> HttpError:
    """Return WASI's error for a broken stream. trio keeps the reason as the exception's cause."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return HttpError("TLS-certificate-error")
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or ""
        if "ALERT" in reason:
            return HttpError("TLS-alert-received", TLSAlertReceivedPayload(alert_message=reason))
        return HttpError("TLS-protocol-error")
    if isinstance(cause, OSError):
        return from_os_error(cause)
    return HttpError("connection-terminated")
