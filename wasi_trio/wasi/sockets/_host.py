"""The network of the machine: the system's sockets, in non-blocking mode."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi._threads import in_thread
from wasi_trio.wasi.sockets._addresses import Address, Family
from wasi_trio.wasi.sockets._errors import Code, SocketError
from wasi_trio.wasi.sockets._transports import Direction, Network, Option, TcpTransport, Transport, UdpTransport

#: bytes of one send
CHUNK = 64 << 10
#: maximum concurrent name resolutions; each occupies a thread until the system's resolver returns
LOOK_UPS = 16
#: the largest possible datagram
DATAGRAM = 65535
_DARWIN = sys.platform == "darwin"
_IDLE: int = getattr(socket, "TCP_KEEPALIVE" if _DARWIN else "TCP_KEEPIDLE", 0x10)

_OPTIONS: dict[Option, tuple[int, int]] = {
    Option.KEEP_ALIVE: (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    Option.KEEP_ALIVE_IDLE: (socket.IPPROTO_TCP, _IDLE),
    Option.KEEP_ALIVE_INTERVAL: (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    Option.KEEP_ALIVE_COUNT: (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    Option.RECEIVE_BUFFER: (socket.SOL_SOCKET, socket.SO_RCVBUF),
    Option.SEND_BUFFER: (socket.SOL_SOCKET, socket.SO_SNDBUF),
}
_HOP_LIMIT = {
    Family.IPV4: (socket.IPPROTO_IP, socket.IP_TTL),
    Family.IPV6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_BUFFERS = (Option.RECEIVE_BUFFER, Option.SEND_BUFFER)
#: options that not every system passes from a listener to its connections
_INHERITED = (Option.KEEP_ALIVE_IDLE, Option.HOP_LIMIT, Option.RECEIVE_BUFFER, Option.SEND_BUFFER)
_SHUTDOWN = {Direction.RECEIVE: socket.SHUT_RD, Direction.SEND: socket.SHUT_WR}


class _Readiness:
    """Lets several tasks wait for one direction of a socket. trio admits one task; the others wait for that task."""

    __slots__ = ("_lot", "_sock", "_wait", "_waiting")

    def __init__(self, sock: socket.socket, wait: Callable[[Any], Awaitable[None]]) -> None:
        self._sock = sock
        self._wait = wait
        self._waiting = False
        self._lot = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        if self._waiting:
            await self._lot.park()
            return
        self._waiting = True
        try:
            with contextlib.suppress(trio.ClosedResourceError):
                await self._wait(self._sock)
        finally:
            self._waiting = False
            self._lot.unpark_all()


class _HostTransport(Transport):
    """The common part of TCP and UDP sockets."""

    __slots__ = ("_readable", "_sock", "_writable")

    network: HostNetwork

    def __init__(self, network: HostNetwork, family: Family, sock: socket.socket) -> None:
        super().__init__(network, family)
        sock.setblocking(False)
        self._sock = sock
        self._readable = _Readiness(sock, trio.lowlevel.wait_readable)
        self._writable = _Readiness(sock, trio.lowlevel.wait_writable)

    def local_address(self) -> Address:
        return Address.of_system(self._sock.getsockname())

    def remote_address(self) -> Address:
        return Address.of_system(self._sock.getpeername())

    def get(self, option: Option) -> int:
        value = self._sock.getsockopt(*self._at(option))
        # Linux reports twice the size that was set, because it counts its own overhead.
        return value // 2 if option in _BUFFERS and sys.platform == "linux" else value

    def set(self, option: Option, value: int) -> None:
        try:
            self._sock.setsockopt(*self._at(option), value)
        except OSError as error:
            # BSD refuses an excessive buffer size; other systems reduce it.
            if option not in _BUFFERS or error.errno != errno.ENOBUFS:
                raise

    def _at(self, option: Option) -> tuple[int, int]:
        return _HOP_LIMIT[self.family] if option is Option.HOP_LIMIT else _OPTIONS[option]

    async def wait_readable(self) -> None:
        if not self.closed:
            await self._readable.wait()

    async def wait_writable(self) -> None:
        if not self.closed:
            await self._writable.wait()

    def interest(self, event: int) -> tuple[int, int] | None:
        return None if self.closed else (self._sock.fileno(), event)

    def _is_ready(self, event: int) -> bool:
        if self.closed:
            return True
        poll = select.poll()
        poll.register(self._sock, event)
        return bool(poll.poll(0))

    def can_receive(self) -> bool:
        return self._is_ready(select.POLLIN)

    def can_send(self) -> bool:
        return self._is_ready(select.POLLOUT)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self.network.closed()


class HostTcp(_HostTransport, TcpTransport):
    __slots__ = ("_peer",)

    def __init__(self, network: HostNetwork, family: Family, sock: socket.socket, peer: Any = None) -> None:
        super().__init__(network, family, sock)
        #: the system's address of the other end; it may be empty if that had already left
        self._peer = peer

    def remote_address(self) -> Address:
        try:
            return super().remote_address()
        except OSError:
            # The system forgets the other end when the connection has ended. Guests still ask for it, to log it.
            if not self._peer:
                raise
            return Address.of_system(self._peer)

    def bind(self, address: Address) -> None:
        # Connections in TIME_WAIT do not keep the address in use.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(address.for_system)

    def connect(self, address: Address) -> None:
        self._peer = address.for_system
        number = self._sock.connect_ex(self._peer)
        if number not in (errno.EINPROGRESS, errno.EINTR):
            _raise(_connect_error(number))

    def connected(self) -> bool:
        if not self._is_ready(select.POLLOUT):
            return False
        _raise(_connect_error(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
        return True

    def listen(self, backlog: int) -> None:
        self._sock.listen(backlog)

    def accept(self) -> HostTcp:
        self.network.opening()
        try:
            sock, peer = self._sock.accept()
            accepted = HostTcp(self.network, self.family, sock, peer)
        except BaseException:
            self.network.closed()
            raise
        if _DARWIN:
            for option in _INHERITED:
                accepted.set(option, self.get(option))
        return accepted

    def receive(self, limit: int) -> bytes:
        return self._sock.recv(limit)

    def send(self, data: bytes | memoryview) -> int:
        return self._sock.send(data)

    def room(self) -> int:
        # The system does not report its room.
        return CHUNK

    def shut_down(self, direction: Direction) -> None:
        # Fails if the peer has already reset the connection.
        with contextlib.suppress(OSError):
            self._sock.shutdown(_SHUTDOWN[direction])


class HostUdp(_HostTransport, UdpTransport):
    __slots__ = ("_connected",)

    def __init__(self, network: HostNetwork, family: Family, sock: socket.socket) -> None:
        super().__init__(network, family, sock)
        self._connected = False

    def bind(self, address: Address) -> None:
        self._sock.bind(address.for_system)

    def connect(self, address: Address | None) -> None:
        # Linux binds a connected socket to the interface of its first peer.
        if self._connected:
            self._disconnect()
        if address is not None:
            self._sock.connect(address.for_system)
            self._connected = True

    def _disconnect(self) -> None:
        """Dissolve the connection, and keep the port.

        Calls the C library, because Python's ``connect`` does not support AF_UNSPEC. With the connection, Linux gives
        up a port that it has chosen itself, and so the same port is bound again.
        """
        import ctypes

        port = self._sock.getsockname()[1]
        unspecified = ctypes.create_string_buffer(16)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.connect(self._sock.fileno(), unspecified, 16) != 0:
            number = ctypes.get_errno()
            # macOS dissolves the connection and still reports an error.
            if not (_DARWIN and number in (errno.EINVAL, errno.EAFNOSUPPORT)):
                _raise(number)
        self._connected = False
        host, left, *rest = self._sock.getsockname()
        if left != port:
            self._sock.bind((host, port, *rest))

    def send(self, data: bytes, address: Address | None) -> None:
        if address is None:
            self._sock.send(data)
        else:
            self._sock.sendto(data, address.for_system)

    def receive(self) -> tuple[bytes, Address]:
        data, address = self._sock.recvfrom(DATAGRAM)
        return data, Address.of_system(address)


@dataclass(slots=True, eq=False)
class HostNetwork(Network):
    """The sockets of this process's guests. ``max_sockets`` bounds their number.

    They also count as descriptors of guests (``wasi._descriptors``).
    """

    max_sockets: int | None = None
    #: the number of open sockets
    sockets: int = 0
    _look_ups: trio.CapacityLimiter | None = None

    def tcp(self, family: Family) -> HostTcp:
        return HostTcp(self, family, self._open(family, socket.SOCK_STREAM))

    def udp(self, family: Family) -> HostUdp:
        return HostUdp(self, family, self._open(family, socket.SOCK_DGRAM))

    def _open(self, family: Family, kind: socket.SocketKind) -> socket.socket:
        self.opening()
        try:
            sock = socket.socket(family, kind)
            if family is Family.IPV6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        except BaseException:
            self.closed()
            raise
        return sock

    def opening(self) -> None:
        """Count a socket before it is opened. Raises SocketError at the limit."""
        if self.max_sockets is not None and self.sockets >= self.max_sockets:
            raise SocketError(Code.TOO_MANY_SOCKETS)
        try:
            GUESTS.reserve()
        except OSError:
            raise SocketError(Code.TOO_MANY_SOCKETS) from None
        self.sockets += 1

    def closed(self) -> None:
        self.sockets -= 1
        GUESTS.release()

    async def look_up(self, name: str) -> list[str]:
        if self._look_ups is None:
            self._look_ups = trio.CapacityLimiter(LOOK_UPS)
        try:
            found = await in_thread(lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM), self._look_ups)
        except socket.gaierror as error:
            raise SocketError(_RESOLVER.get(error.errno or 0, Code.NAME_UNRESOLVABLE)) from error
        except UnicodeError as error:
            raise SocketError(Code.INVALID_ARGUMENT) from error
        return [str(address[0]) for _, _, _, _, address in found]


_RESOLVER = {
    socket.EAI_AGAIN: Code.TEMPORARY_RESOLVER_FAILURE,
    socket.EAI_FAIL: Code.PERMANENT_RESOLVER_FAILURE,
    socket.EAI_MEMORY: Code.OUT_OF_MEMORY,
}


def _connect_error(number: int) -> int:
    """Return the error of ``connect``. Linux reports a lack of free ports as EADDRNOTAVAIL."""
    return errno.EADDRINUSE if number == errno.EADDRNOTAVAIL else number


def _raise(number: int) -> None:
    if number:
        raise OSError(number, errno.errorcode.get(number, ""))
