"""The network options of guests, and the sockets of one instance."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import trio

from wasi_trio.wasi._descriptors import raise_limit
from wasi_trio.wasi._outbound import Entry, Outbound, plain_address
from wasi_trio.wasi.sockets._addresses import Address, Family
from wasi_trio.wasi.sockets._errors import Code, SocketError
from wasi_trio.wasi.sockets._host import HostNetwork
from wasi_trio.wasi.sockets._memory import MemoryNetwork
from wasi_trio.wasi.sockets._names import parse_host
from wasi_trio.wasi.sockets._transports import Network, TcpTransport, Transport, UdpTransport

#: maximum concurrent name resolutions of an instance
LOOK_UPS = 64
#: maximum addresses of one name resolution
ADDRESSES = 256
#: maximum addresses whose names an instance remembers
_MAX_REMEMBERED = 1024
#: bytes of a pipe, the buffer of one direction of a connection within an instance
PIPE = 16 << 10
#: maximum connections within an instance that wait for accept
WAITING = 256


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Network options that all instances of a guest share.

    ``inherit`` gives guests the network of the machine. Otherwise an instance has its own loopback addresses, which
    connect its sockets with each other, and the destinations of ``outbound``. ``outbound`` is the allow-list for
    sockets and for outgoing requests (``WasiOptions.http``); None allows all destinations. ``block_private`` denies
    addresses that are not public, unless ``outbound`` lists them as addresses. ``allow_ip_name_lookup`` lets guests
    resolve names; with ``outbound``, only listed names. ``max_sockets`` bounds the sockets of one instance. ``network``
    is the machine's network, which bounds the sockets of the process, or a replacement for it.
    """

    inherit: bool = False
    allow_ip_name_lookup: bool = False
    outbound: Outbound | None = None
    block_private: bool = False
    max_sockets: int = 2048
    network: Network = field(default_factory=HostNetwork)

    @property
    def destinations(self) -> Outbound | None:
        """The allow-list of destinations, or None if all are allowed."""
        if not self.block_private:
            return self.outbound
        return replace(Outbound((Entry(name="*"),)) if self.outbound is None else self.outbound, block_private=True)

    def prepared(self, own: Collection[tuple[str, int]] = ()) -> NetworkOptions:
        """Return the options for a server that listens on these addresses, and raise the limit of descriptors."""
        if (self.inherit or self.outbound is not None) and isinstance(self.network, HostNetwork):
            raise_limit()
        return self if self.outbound is None else replace(self, outbound=self.outbound.with_own(own))


class NetworkContext:
    """The sockets of one guest instance. ``nursery`` holds their background tasks."""

    __slots__ = ("_listening", "_looked_up", "_looking_up", "_loopback", "_sockets", "freed", "nursery", "options")

    def __init__(self, options: NetworkOptions, nursery: trio.Nursery | None) -> None:
        self.options = options
        self.nursery = nursery
        self._sockets = 0
        #: tasks that wait for a socket to close, so that they can open another
        self.freed = trio.lowlevel.ParkingLot()
        self._loopback: MemoryNetwork | None = None
        #: the addresses on which sockets of this instance listen
        self._listening: dict[Transport, Address] = {}
        #: the names that resolved to each address
        self._looked_up: dict[str, set[str]] = {}
        self._looking_up = 0

    # ---- sockets -----------------------------------------------------------------------------------------

    def open_tcp(self, family: Family, network: Network | None = None) -> TcpTransport:
        """Open a socket. Raises SocketError at the limit, and OSError."""
        self._count()
        try:
            return (network or self._default_network()).tcp(family)
        except OSError:
            self._uncount()
            raise

    def open_udp(self, family: Family, network: Network | None = None) -> UdpTransport:
        self._count()
        try:
            return (network or self._default_network()).udp(family)
        except OSError:
            self._uncount()
            raise

    def accept(self, listener: TcpTransport) -> TcpTransport:
        """Accept the next connection of a listening socket."""
        self._count()
        try:
            return listener.accept()
        except OSError:
            self._uncount()
            raise

    def close(self, transport: Transport) -> None:
        if not transport.closed:
            self._listening.pop(transport, None)
            transport.close()
            self._uncount()

    def record_listener(self, transport: TcpTransport) -> None:
        """Record that a socket listens, so that this instance may connect to it."""
        local = transport.local_address()
        self._listening[transport] = Address(local.host, local.port)

    def _count(self) -> None:
        if self._sockets >= self.options.max_sockets:
            raise SocketError(Code.TOO_MANY_SOCKETS)
        self._sockets += 1

    def _uncount(self) -> None:
        self._sockets -= 1
        self.freed.unpark()

    def _default_network(self) -> Network:
        options = self.options
        return options.network if options.inherit or options.outbound is not None else self._memory_network()

    def _memory_network(self) -> MemoryNetwork:
        if self._loopback is None:
            self._loopback = MemoryNetwork(capacity=PIPE, most_waiting=WAITING)
        return self._loopback

    # ---- permissions -------------------------------------------------------------------------------------

    def network_to_bind(self, address: Address, *, to_receive_answers: bool = False) -> Network:
        """Return the network for a socket that binds an address. Raises SocketError if that is not allowed.

        ``to_receive_answers`` is for a UDP socket, which must be bound before it can send.
        """
        options = self.options
        if options.inherit:
            return options.network
        if address.is_loopback:
            return self._memory_network()
        if to_receive_answers and address.is_any and address.port == 0 and options.outbound is not None:
            return options.network
        raise SocketError(Code.ACCESS_DENIED)

    def network_to_listen(self) -> Network:
        """Return the network for an unbound socket that listens on all addresses. Raises SocketError if not allowed."""
        if self.options.inherit:
            return self.options.network
        raise SocketError(Code.ACCESS_DENIED)

    def network_to_reach(self, scheme: str, address: Address) -> Network:
        """Return the network to connect or send to an address. Raises SocketError if that is not allowed."""
        options = self.options
        allowed = options.destinations
        if options.inherit or options.outbound is not None:
            admitted = allowed is None or self._admits(allowed, scheme, address)
            if admitted or (options.inherit and self._is_own(address)):
                return options.network
        if address.is_loopback and not options.inherit:
            return self._memory_network()
        raise SocketError(Code.ACCESS_DENIED)

    def may_receive(self, network: Network, address: Address) -> bool:
        """Return whether a guest may receive a datagram from an address.

        Without permission to listen, only answers pass.
        """
        options = self.options
        allowed = options.destinations
        if options.inherit or options.outbound is None or allowed is None or network is not options.network:
            return True
        return self._admits(allowed, "udp", address)

    def _admits(self, outbound: Outbound, scheme: str, address: Address) -> bool:
        if outbound.admits_address(scheme, address.host, address.port):
            return True
        names = self._looked_up.get(address.host, ())
        return any(outbound.admits_connection(scheme, name, address.host, address.port) for name in names)

    def _is_own(self, address: Address) -> bool:
        """Return whether a socket of this instance listens at the address, as in a socket pair."""
        listening = self._listening.values()
        everywhere = address.is_loopback and Address(address.family.any, address.port) in listening
        return everywhere or Address(address.host, address.port) in listening

    # ---- names -------------------------------------------------------------------------------------------

    def parse_name(self, name: str) -> tuple[list[str], str]:
        """Return the address in a list, if the name is one, and the name in ASCII.

        Raises SocketError if not allowed.
        """
        if not self.options.allow_ip_name_lookup:
            raise SocketError(Code.ACCESS_DENIED)
        address, plain = parse_host(name)
        if address is not None:
            return [address], plain
        outbound = self.options.outbound
        if outbound is not None and not outbound.admits_look_up(plain):
            raise SocketError(Code.ACCESS_DENIED)
        return [], plain

    async def look_up(self, name: str) -> list[str]:
        """Resolve a name from ``parse_name`` to addresses, in the system's order. Raises SocketError.

        If the allow-list admits the name, the instance may then connect to these addresses.
        """
        if self._looking_up >= LOOK_UPS:
            raise SocketError(Code.TEMPORARY_RESOLVER_FAILURE)
        self._looking_up += 1
        try:
            texts = await self.options.network.look_up(name)
        finally:
            self._looking_up -= 1
        found: dict[str, None] = {}
        for text in texts:
            ip = plain_address(text)
            if ip is not None and len(found) < ADDRESSES:
                found[str(ip)] = None
        if not found:
            raise SocketError(Code.NAME_UNRESOLVABLE)
        for address in found:
            if address in self._looked_up or len(self._looked_up) < _MAX_REMEMBERED:
                names = self._looked_up.setdefault(address, set())
                if len(names) < 16:
                    names.add(name)
        return list(found)
