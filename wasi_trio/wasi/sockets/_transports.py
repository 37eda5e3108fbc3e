"""The sockets beneath those of guests: of the system (``host``) or in memory (``memory``).

Only ``wait_readable`` and ``wait_writable`` wait. They return when the next attempt may succeed, soon if it may
already; any number of tasks may wait at once, and cancellation loses nothing. All other methods raise BlockingIOError
if they would have to wait, and OSError if they fail. A closed transport fails, and wakes all tasks that wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum, auto

from wasi_trio.wasi.sockets._addresses import Address, Family


class Option(Enum):
    """The options of sockets. Their values are whole numbers; times are in seconds, sizes in bytes."""

    KEEP_ALIVE = auto()
    KEEP_ALIVE_IDLE = auto()
    KEEP_ALIVE_INTERVAL = auto()
    KEEP_ALIVE_COUNT = auto()
    HOP_LIMIT = auto()
    RECEIVE_BUFFER = auto()
    SEND_BUFFER = auto()


#: those that a UDP socket has
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
        """Set an option to a value that is in range; the system may round it."""

    @abstractmethod
    def can_receive(self) -> bool:
        """Whether ``receive`` or ``accept`` would give something, or fail."""

    @abstractmethod
    def can_send(self) -> bool:
        """Whether ``send`` would take something, or fail."""

    @abstractmethod
    async def wait_readable(self) -> None: ...

    @abstractmethod
    async def wait_writable(self) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Harmless when repeated."""


class TcpTransport(Transport):
    __slots__ = ()

    @abstractmethod
    def connect(self, address: Address) -> None:
        """Begin to connect."""

    @abstractmethod
    def connected(self) -> bool:
        """Whether the connection is there; raises OSError if it could not be made. ``wait_writable`` waits for this."""

    @abstractmethod
    def listen(self, backlog: int) -> None:
        """Listen for connections; called again, it changes the number of connections that may wait."""

    @abstractmethod
    def accept(self) -> TcpTransport:
        """The next connection."""

    @abstractmethod
    def receive(self, limit: int) -> bytes:
        """At least one of the bytes that are there; none at the end of them."""

    @abstractmethod
    def send(self, data: bytes | memoryview) -> int:
        """Send at least one of these bytes; gives how many."""

    @abstractmethod
    def room(self) -> int:
        """The number of bytes worth sending at once; 0 only if ``send`` would have to wait."""

    @abstractmethod
    def shut_down(self, direction: Direction) -> None: ...


class UdpTransport(Transport):
    __slots__ = ()

    @abstractmethod
    def connect(self, address: Address | None) -> None:
        """Exchange datagrams with this address alone, or with any again."""

    @abstractmethod
    def send(self, data: bytes, address: Address | None) -> None:
        """Send a datagram; None for the address that this is connected to."""

    @abstractmethod
    def receive(self) -> tuple[bytes, Address]:
        """The next datagram, whole, and its source."""


class Network(ABC):
    """A network that sockets can be opened in."""

    __slots__ = ()

    @abstractmethod
    def tcp(self, family: Family) -> TcpTransport: ...

    @abstractmethod
    def udp(self, family: Family) -> UdpTransport: ...

    @abstractmethod
    async def look_up(self, name: str) -> list[str]:
        """The IP addresses of a host, at least one; raises SocketError."""
