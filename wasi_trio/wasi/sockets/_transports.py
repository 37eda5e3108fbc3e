"""The sockets beneath those of guests: of the system (``_host``) or in memory (``_memory``).

Only ``wait_readable`` and ``wait_writable`` wait. They return when the next attempt may succeed, or soon if it may
already succeed. Any number of tasks may wait at once, and cancellation loses nothing. All other methods raise
BlockingIOError if they would have to wait, and OSError for failures. A closed transport fails, and wakes all waiting
tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum, auto

from wasi_trio.wasi.sockets._addresses import Address, Family


class Option(Enum):
    """The options of sockets. Values are integers. Times are in seconds, sizes in bytes."""

    KEEP_ALIVE = auto()
    KEEP_ALIVE_IDLE = auto()
    KEEP_ALIVE_INTERVAL = auto()
    KEEP_ALIVE_COUNT = auto()
    HOP_LIMIT = auto()
    RECEIVE_BUFFER = auto()
    SEND_BUFFER = auto()


#: the options of a UDP socket
UDP_OPTIONS = (Option.HOP_LIMIT, Option.RECEIVE_BUFFER, Option.SEND_BUFFER)


class Direction(Enum):
    RECEIVE = auto()
    SEND = auto()


class Transport(ABC):
    """A socket."""

    __slots__ = ("closed", "family", "network")

    def __init__(self, network: Network, family: Family) -> None:
        self.network = network
        self.family = family
        self.closed = False

    @abstractmethod
    def bind(self, address: Address) -> None: ...

    @abstractmethod
    def local_address(self) -> Address: ...

    @abstractmethod
    def remote_address(self) -> Address: ...

    @abstractmethod
    def get(self, option: Option) -> int: ...

    @abstractmethod
    def set(self, option: Option, value: int) -> None:
        """Set an option to a valid value. The system may round it."""

    @abstractmethod
    def can_receive(self) -> bool:
        """Return whether ``receive`` or ``accept`` would return a result or fail."""

    @abstractmethod
    def can_send(self) -> bool:
        """Return whether ``send`` would accept data or fail."""

    @abstractmethod
    async def wait_readable(self) -> None: ...

    @abstractmethod
    async def wait_writable(self) -> None: ...

    def interest(self, event: int) -> tuple[int, int] | None:
        """Return the system's descriptor and ``event``, or None without a descriptor.

        ``event`` is POLLIN, for which ``wait_readable`` waits, or POLLOUT, for which ``wait_writable`` does.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Close the socket. Has no effect if repeated."""


class TcpTransport(Transport):
    __slots__ = ()

    @abstractmethod
    def connect(self, address: Address) -> None:
        """Start to connect."""

    @abstractmethod
    def connected(self) -> bool:
        """Return whether the connection is established. Raises OSError if it failed. ``wait_writable`` waits for it."""

    @abstractmethod
    def listen(self, backlog: int) -> None:
        """Listen for connections. A second call changes the number of connections that may wait."""

    @abstractmethod
    def accept(self) -> TcpTransport:
        """Return the next connection."""

    @abstractmethod
    def receive(self, limit: int) -> bytes:
        """Return at least one of the available bytes, or none at the end."""

    @abstractmethod
    def send(self, data: bytes | memoryview) -> int:
        """Send at least one byte, and return the number of bytes sent."""

    @abstractmethod
    def room(self) -> int:
        """Return the number of bytes worth sending at once, or 0 only if ``send`` would have to wait."""

    @abstractmethod
    def shut_down(self, direction: Direction) -> None: ...


class UdpTransport(Transport):
    __slots__ = ()

    @abstractmethod
    def connect(self, address: Address | None) -> None:
        """Exchange datagrams only with this address, or with all addresses for None."""

    @abstractmethod
    def send(self, data: bytes, address: Address | None) -> None:
        """Send a datagram. None means the address of ``connect``."""

    @abstractmethod
    def receive(self) -> tuple[bytes, Address]:
        """Return the next datagram and its source."""


class Network(ABC):
    """A network in which sockets can be opened."""

    __slots__ = ()

    @abstractmethod
    def tcp(self, family: Family) -> TcpTransport: ...

    @abstractmethod
    def udp(self, family: Family) -> UdpTransport: ...

    @abstractmethod
    async def look_up(self, name: str) -> list[str]:
        """Return the IP addresses of a host, at least one. Raises SocketError."""
