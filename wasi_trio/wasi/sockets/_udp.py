"""UDP sockets."""

from __future__ import annotations

from wasi_trio.wasi.sockets._addresses import Address, Family, check_family, check_remote
from wasi_trio.wasi.sockets._context import NetworkContext
from wasi_trio.wasi.sockets._errors import Code, SocketError, would_block
from wasi_trio.wasi.sockets._options import copy_options, get_option, set_option
from wasi_trio.wasi.sockets._transports import UDP_OPTIONS, Network, Option, UdpTransport

#: maximum bytes of a datagram; the system may have a lower limit
LARGEST = 65535
#: maximum datagrams that one ``receive`` skips because the guest may not receive them
_MAX_SKIPPED = 64


class UdpSocket:
    """A socket. An operation raises SocketError if the state or the options forbid it, else OSError.

    It counts its users. The creator is the first user, and the last release closes it.
    """

    __slots__ = ("_bound", "_context", "_holds", "_remote", "family", "transport")

    def __init__(self, context: NetworkContext, family: Family) -> None:
        self._context = context
        self.family = family
        self.transport: UdpTransport = context.open_udp(family)
        self._holds = 1
        self._bound = False
        self._remote: Address | None = None

    def bind(self, address: Address) -> None:
        if self._bound:
            raise SocketError(Code.INVALID_STATE)
        check_family(address, self.family)
        self._move_to(self._context.network_to_bind(address, to_receive_answers=True))
        self.transport.bind(address)
        self._bound = True

    @property
    def is_bound(self) -> bool:
        return self._bound

    @property
    def is_connected(self) -> bool:
        return self._remote is not None

    def connect(self, address: Address) -> None:
        """Exchange datagrams only with this address."""
        check_family(address, self.family)
        check_remote(address)
        self._move_to(self._context.network_to_reach("udp", address))
        self._remote = None
        self.transport.connect(address)
        self._bound = True
        self._remote = address

    def disconnect(self) -> None:
        if self._remote is None:
            raise SocketError(Code.INVALID_STATE)
        self.transport.connect(None)
        self._remote = None

    def send(self, data: bytes, address: Address | None) -> None:
        """Send a datagram. Raises BlockingIOError without room."""
        if len(data) > LARGEST:
            raise SocketError(Code.DATAGRAM_TOO_LARGE)
        if address is None:
            if self._remote is None:
                raise SocketError(Code.INVALID_ARGUMENT)
        else:
            check_family(address, self.family)
            check_remote(address)
            if self._remote not in (None, address):
                raise SocketError(Code.INVALID_ARGUMENT)
            if self._remote is None:
                self._move_to(self._context.network_to_reach("udp", address))
        self.transport.send(data, None if self._remote is not None else address)
        self._bound = True

    def receive(self) -> tuple[bytes, Address]:
        """Return the next datagram. Raises BlockingIOError if none is available.

        A connected socket may still hold datagrams of others, which arrived before the connection. They are dropped.
        """
        if not self._bound:
            raise SocketError(Code.INVALID_STATE)
        remote = self._remote
        for _ in range(_MAX_SKIPPED):
            data, address = self.transport.receive()
            if remote is not None and address[:2] != remote[:2]:
                continue
            if self._context.may_receive(self.transport.network, address):
                return data, address
        raise would_block()

    def _move_to(self, network: Network) -> None:
        """Replace the transport by one of another network, with the same options. Only unbound sockets can move."""
        if self.transport.network is network:
            return
        if self._bound:
            raise SocketError(Code.REMOTE_UNREACHABLE)
        transport = self._context.open_udp(self.family, network)
        copy_options(self.transport, transport, UDP_OPTIONS)
        self._context.close(self.transport)
        self.transport = transport

    def local_address(self) -> Address:
        if not self._bound:
            raise SocketError(Code.INVALID_STATE)
        return self.transport.local_address()

    def remote_address(self) -> Address:
        if self._remote is None:
            raise SocketError(Code.INVALID_STATE)
        return self._remote

    def get(self, option: Option) -> int:
        return get_option(self.transport, option)

    def set(self, option: Option, value: int) -> None:
        set_option(self.transport, option, value)

    def hold(self) -> None:
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        if not self._holds:
            self._context.close(self.transport)
