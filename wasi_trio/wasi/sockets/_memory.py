"""A network in memory, whose sockets reach only each other.

An instance without the machine's network uses one for its loopback addresses. A test shares one with its guests. It
behaves like TCP and UDP: bounded buffers, half-closed connections, resets, ports in use.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Mapping, Sequence

import trio

from wasi_trio.wasi.sockets._addresses import Address, Family
from wasi_trio.wasi.sockets._errors import Code, SocketError, would_block
from wasi_trio.wasi.sockets._transports import Direction, Network, Option, TcpTransport, Transport, UdpTransport

#: bytes that one direction of a connection buffers
PIPE = 64 << 10
#: maximum datagrams in the queue of a socket, and their bytes; others are lost, as in UDP
DATAGRAMS = 64
DATAGRAM_BYTES = 256 << 10
#: the same for all sockets of a network
ALL_DATAGRAM_BYTES = 4 << 20
#: the largest datagram over IPv4
LARGEST = 65507
#: the range of ports that the network assigns
EPHEMERAL = range(49152, 65536)

_DEFAULTS = {
    Option.KEEP_ALIVE: 0,
    Option.KEEP_ALIVE_IDLE: 7200,
    Option.KEEP_ALIVE_INTERVAL: 75,
    Option.KEEP_ALIVE_COUNT: 9,
    Option.HOP_LIMIT: 64,
    Option.RECEIVE_BUFFER: PIPE,
    Option.SEND_BUFFER: PIPE,
}


class _Pipe:
    """One direction of a connection."""

    __slots__ = ("_data", "capacity", "discarding", "ended", "reset", "wake")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._data = bytearray()
        #: the writer has ended this direction
        self.ended = False
        #: the connection was reset, and unread data is lost
        self.reset = False
        #: the reader has shut down this direction
        self.discarding = False
        #: tasks that wait for a change
        self.wake = trio.lowlevel.ParkingLot()

    @property
    def size(self) -> int:
        return len(self._data)

    def changed(self) -> None:
        self.wake.unpark_all()

    def put(self, data: bytes | memoryview) -> int:
        if self.reset:
            raise _error(errno.ECONNRESET)
        if self.ended:
            raise _error(errno.EPIPE)
        if self.discarding:
            return len(data)
        room = self.capacity - len(self._data)
        if room <= 0:
            raise would_block()
        self._data += data[:room]
        self.changed()
        return min(room, len(data))

    def take(self, limit: int) -> bytes:
        if self._data:
            data = bytes(self._data[:limit])
            del self._data[:limit]
            self.changed()
            return data
        if self.ended or self.discarding:
            return b""
        if self.reset:
            raise _error(errno.ECONNRESET)
        raise would_block()

    def end(self) -> None:
        if not self.reset:
            self.ended = True
            self.changed()

    def discard(self) -> None:
        self.discarding = True
        self._data.clear()
        self.changed()

    def break_off(self) -> None:
        if not self.ended:
            self._data.clear()
        self.reset = True
        self.changed()


class _MemoryTransport(Transport):
    """The common part of TCP and UDP sockets."""

    __slots__ = ("_local", "_options", "_remote", "_wake")

    network: MemoryNetwork

    def __init__(self, network: MemoryNetwork, family: Family) -> None:
        super().__init__(network, family)
        self._local = Address(family.any, 0)
        self._remote: Address | None = None
        self._options = dict(_DEFAULTS)
        self._wake = trio.lowlevel.ParkingLot()

    def local_address(self) -> Address:
        return self._local

    def remote_address(self) -> Address:
        if self._remote is None:
            raise _error(errno.ENOTCONN)
        return self._remote

    def get(self, option: Option) -> int:
        return self._options[option]

    def set(self, option: Option, value: int) -> None:
        self._options[option] = value

    async def wait_readable(self) -> None:
        await _park(self.can_receive(), self._wake)

    async def wait_writable(self) -> None:
        await _park(self.can_send(), self._wake)


class MemoryTcp(_MemoryTransport, TcpTransport):
    __slots__ = ("_backlog", "_incoming", "_outgoing", "_waiting")

    def __init__(self, network: MemoryNetwork, family: Family) -> None:
        super().__init__(network, family)
        self._backlog = 0
        #: connections that wait for accept
        self._waiting: deque[MemoryTcp] = deque()
        self._incoming: _Pipe | None = None
        self._outgoing: _Pipe | None = None

    def bind(self, address: Address) -> None:
        self._local = self.network.claim(self.network.tcp_bound, self, address)

    def connect(self, address: Address) -> None:
        listener = self.network.at(self.network.tcp_bound, address)
        if (
            not isinstance(listener, MemoryTcp)
            or len(listener._waiting) >= listener._backlog
            or self.network.waiting >= self.network.most_waiting
        ):
            raise _error(errno.ECONNREFUSED)
        if self._local.port == 0:
            self.bind(Address(self.network.source_for(address), 0))
        elif self._local.is_any:
            self._local = self._local._replace(host=self.network.source_for(address))
        other = MemoryTcp(self.network, self.family)
        other._options.update(listener._options)
        other._local, other._remote = address, self._local
        self._remote = address
        one, two = _Pipe(self.network.capacity), _Pipe(self.network.capacity)
        self._incoming = other._outgoing = one
        self._outgoing = other._incoming = two
        listener._waiting.append(other)
        self.network.waiting += 1
        listener._wake.unpark_all()

    def connected(self) -> bool:
        return True

    def listen(self, backlog: int) -> None:
        if self._local.port == 0:
            self.bind(self._local)
        self._backlog = min(backlog, self.network.backlog)
        self.network.listening.unpark_all()

    def accept(self) -> MemoryTcp:
        if not self._waiting:
            raise would_block()
        self.network.waiting -= 1
        return self._waiting.popleft()

    def _pipes(self) -> tuple[_Pipe, _Pipe]:
        if self._incoming is None or self._outgoing is None:
            raise _error(errno.EBADF if self.closed else errno.ENOTCONN)
        return self._incoming, self._outgoing

    def receive(self, limit: int) -> bytes:
        return self._pipes()[0].take(limit)

    def send(self, data: bytes | memoryview) -> int:
        return self._pipes()[1].put(data)

    def room(self) -> int:
        pipe = self._outgoing
        if pipe is None or pipe.reset or pipe.ended or pipe.discarding:
            return self.network.capacity
        return pipe.capacity - pipe.size

    def can_receive(self) -> bool:
        pipe = self._incoming
        if pipe is None:
            return self.closed or bool(self._waiting)
        return bool(pipe.size or pipe.ended or pipe.discarding or pipe.reset)

    def can_send(self) -> bool:
        return self.room() > 0

    def shut_down(self, direction: Direction) -> None:
        incoming, outgoing = self._pipes()
        if direction is Direction.SEND:
            outgoing.end()
        else:
            incoming.discard()

    async def wait_readable(self) -> None:
        await _park(self.can_receive(), self._wake if self._incoming is None else self._incoming.wake)

    async def wait_writable(self) -> None:
        await _park(self.can_send(), self._wake if self._outgoing is None else self._outgoing.wake)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.network.release(self.network.tcp_bound, self)
        self.network.waiting -= len(self._waiting)
        for waiting in self._waiting:
            waiting.reset()
        self._waiting.clear()
        incoming, outgoing = self._incoming, self._outgoing
        self._incoming = self._outgoing = None
        if incoming is not None and outgoing is not None:
            # A reset tells the peer that data was lost.
            if incoming.size:
                outgoing.break_off()
            else:
                outgoing.end()
            incoming.break_off()
            incoming.changed()
            outgoing.changed()
        self._wake.unpark_all()

    def reset(self) -> None:
        """Reset the connection. The peer loses its unread data."""
        if self._outgoing is not None:
            self._outgoing.break_off()
        self.close()


class MemoryUdp(_MemoryTransport, UdpTransport):
    __slots__ = ("_bytes", "_queue")

    def __init__(self, network: MemoryNetwork, family: Family) -> None:
        super().__init__(network, family)
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._bytes = 0

    def bind(self, address: Address) -> None:
        self._local = self.network.claim(self.network.udp_bound, self, address)

    def connect(self, address: Address | None) -> None:
        self._remote = address
        if address is not None:
            self._bind_for(address)

    def send(self, data: bytes, address: Address | None) -> None:
        to = self.remote_address() if address is None else address
        if len(data) > LARGEST:
            raise _error(errno.EMSGSIZE)
        self._bind_for(to)
        source = self._local
        if source.is_any:
            source = source._replace(host=self.network.source_for(to))
        other = self.network.at(self.network.udp_bound, to)
        if isinstance(other, MemoryUdp):
            other._arrived(data, source)

    def _bind_for(self, address: Address) -> None:
        if self._local.port == 0:
            self.bind(Address(self.family.any, 0))

    def _arrived(self, data: bytes, source: Address) -> None:
        if self._remote is not None and self._remote[:2] != source[:2]:
            return
        network = self.network
        room = min(DATAGRAM_BYTES - self._bytes, ALL_DATAGRAM_BYTES - network.datagram_bytes)
        if len(self._queue) < DATAGRAMS and len(data) <= room:
            self._queue.append((data, source))
            self._bytes += len(data)
            network.datagram_bytes += len(data)
            self._wake.unpark_all()

    def receive(self) -> tuple[bytes, Address]:
        if not self._queue:
            raise would_block()
        data, source = self._queue.popleft()
        self._bytes -= len(data)
        self.network.datagram_bytes -= len(data)
        return data, source

    def can_receive(self) -> bool:
        return self.closed or bool(self._queue)

    def can_send(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.network.release(self.network.udp_bound, self)
            self._queue.clear()
            self.network.datagram_bytes -= self._bytes
            self._bytes = 0
            self._wake.unpark_all()


Bound = dict[tuple[str, int], _MemoryTransport]


class MemoryNetwork(Network):
    """A network whose sockets reach only each other.

    ``names`` maps host names to addresses. ``source`` holds the source addresses, for IPv4 and IPv6, to destinations
    other than loopback. ``capacity`` bounds the bytes in one direction of a connection. ``backlog`` bounds the
    connections that wait at one listening socket, and ``most_waiting`` those that wait at all of them.
    """

    def __init__(
        self,
        names: Mapping[str, Sequence[str]] | None = None,
        *,
        source: tuple[str, str] = ("10.0.0.1", "fd00::1"),
        capacity: int = PIPE,
        backlog: int = 128,
        most_waiting: int = 1024,
    ) -> None:
        self.names = dict(names or {})
        self.capacity = capacity
        self.backlog = backlog
        self.most_waiting = most_waiting
        self.waiting = 0
        self.datagram_bytes = 0
        self.tcp_bound: Bound = {}
        self.udp_bound: Bound = {}
        #: tasks that wait for a socket to listen
        self.listening = trio.lowlevel.ParkingLot()
        self._source = source
        self._next = 0

    def tcp(self, family: Family) -> MemoryTcp:
        return MemoryTcp(self, family)

    def udp(self, family: Family) -> MemoryUdp:
        return MemoryUdp(self, family)

    async def look_up(self, name: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        found = self.names.get(name)
        if not found:
            raise SocketError(Code.NAME_UNRESOLVABLE)
        return list(found)

    def source_for(self, address: Address) -> str:
        """Return the source host for a destination, for a socket that is unbound or bound to all addresses."""
        if address.is_loopback:
            return address.family.loopback
        return self._source[address.family is Family.IPV6]

    def at(self, bound: Bound, address: Address) -> _MemoryTransport | None:
        """Return the socket that is bound to an address or to all addresses, or None."""
        return bound.get((address.host, address.port)) or bound.get((address.family.any, address.port))

    def claim(self, bound: Bound, transport: _MemoryTransport, address: Address) -> Address:
        """Bind a socket, and return the address with its port."""
        if address.port == 0:
            address = address._replace(port=self._free_port(bound, address.host))
        elif self._is_bound(bound, address.host, address.port):
            raise _error(errno.EADDRINUSE)
        bound[address.host, address.port] = transport
        return address

    def _is_bound(self, bound: Bound, host: str, port: int) -> bool:
        return (host, port) in bound

    def _free_port(self, bound: Bound, host: str) -> int:
        for _ in EPHEMERAL:
            port = EPHEMERAL[self._next % len(EPHEMERAL)]
            self._next += 1
            if not self._is_bound(bound, host, port):
                return port
        raise _error(errno.EADDRINUSE)

    def release(self, bound: Bound, transport: _MemoryTransport) -> None:
        local = transport.local_address()
        if bound.get((local.host, local.port)) is transport:
            del bound[local.host, local.port]


async def _park(ready: bool, lot: trio.lowlevel.ParkingLot) -> None:
    """Wait for a change, unless ``ready``, because the change may have occurred just before this call."""
    if ready:
        await trio.lowlevel.checkpoint()
    else:
        await lot.park()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
