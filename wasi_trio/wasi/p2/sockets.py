"""wasi:sockets 0.2, all of it refused: guests that import it link, and every operation answers ``access-denied``.

A guest gets a socket only from ``create-*-socket``, so it can never have one to call a method on.
"""

from __future__ import annotations

from typing import Any, NoReturn

from wasi_trio.component.errors import Unsupported
from wasi_trio.component.values import Err
from wasi_trio.wasi.context import WasiContext
from wasi_trio.wasi.p2.io import Error


def _denied() -> Err[str]:
    return Err("access-denied")


def _unsupported(function: str) -> Unsupported:
    return Unsupported(f"wasi:sockets: {function} was called, and this host has no sockets to offer")


class Network:
    """The resource ``network``: access to a network, which here gives none."""

    __slots__ = ()


class TcpSocket:
    """The resource ``tcp-socket``."""

    __slots__ = ()

    def start_bind(self, network: Network, local_address: Any) -> Err[str]:
        return _denied()

    def finish_bind(self) -> Err[str]:
        return _denied()

    def start_connect(self, network: Network, remote_address: Any) -> Err[str]:
        return _denied()

    def finish_connect(self) -> Err[str]:
        return _denied()

    def start_listen(self) -> Err[str]:
        return _denied()

    def finish_listen(self) -> Err[str]:
        return _denied()

    def accept(self) -> Err[str]:
        return _denied()

    def local_address(self) -> Err[str]:
        return _denied()

    def remote_address(self) -> Err[str]:
        return _denied()

    def is_listening(self) -> NoReturn:
        raise _unsupported("tcp-socket.is-listening")

    def address_family(self) -> NoReturn:
        raise _unsupported("tcp-socket.address-family")

    def set_listen_backlog_size(self, value: int) -> Err[str]:
        return _denied()

    def keep_alive_enabled(self) -> Err[str]:
        return _denied()

    def set_keep_alive_enabled(self, value: bool) -> Err[str]:
        return _denied()

    def keep_alive_idle_time(self) -> Err[str]:
        return _denied()

    def set_keep_alive_idle_time(self, value: int) -> Err[str]:
        return _denied()

    def keep_alive_interval(self) -> Err[str]:
        return _denied()

    def set_keep_alive_interval(self, value: int) -> Err[str]:
        return _denied()

    def keep_alive_count(self) -> Err[str]:
        return _denied()

    def set_keep_alive_count(self, value: int) -> Err[str]:
        return _denied()

    def hop_limit(self) -> Err[str]:
        return _denied()

    def set_hop_limit(self, value: int) -> Err[str]:
        return _denied()

    def receive_buffer_size(self) -> Err[str]:
        return _denied()

    def set_receive_buffer_size(self, value: int) -> Err[str]:
        return _denied()

    def send_buffer_size(self) -> Err[str]:
        return _denied()

    def set_send_buffer_size(self, value: int) -> Err[str]:
        return _denied()

    def subscribe(self) -> NoReturn:
        raise _unsupported("tcp-socket.subscribe")

    def shutdown(self, shutdown_type: str) -> Err[str]:
        return _denied()


class UdpSocket:
    """The resource ``udp-socket``."""

    __slots__ = ()

    def start_bind(self, network: Network, local_address: Any) -> Err[str]:
        return _denied()

    def finish_bind(self) -> Err[str]:
        return _denied()

    def stream(self, remote_address: Any) -> Err[str]:
        return _denied()

    def local_address(self) -> Err[str]:
        return _denied()

    def remote_address(self) -> Err[str]:
        return _denied()

    def address_family(self) -> NoReturn:
        raise _unsupported("udp-socket.address-family")

    def unicast_hop_limit(self) -> Err[str]:
        return _denied()

    def set_unicast_hop_limit(self, value: int) -> Err[str]:
        return _denied()

    def receive_buffer_size(self) -> Err[str]:
        return _denied()

    def set_receive_buffer_size(self, value: int) -> Err[str]:
        return _denied()

    def send_buffer_size(self) -> Err[str]:
        return _denied()

    def set_send_buffer_size(self, value: int) -> Err[str]:
        return _denied()

    def subscribe(self) -> NoReturn:
        raise _unsupported("udp-socket.subscribe")


class IncomingDatagramStream:
    """The resource ``incoming-datagram-stream``."""

    __slots__ = ()

    def receive(self, max_results: int) -> Err[str]:
        return _denied()

    def subscribe(self) -> NoReturn:
        raise _unsupported("incoming-datagram-stream.subscribe")


class OutgoingDatagramStream:
    """The resource ``outgoing-datagram-stream``."""

    __slots__ = ()

    def check_send(self) -> Err[str]:
        return _denied()

    def send(self, datagrams: Any) -> Err[str]:
        return _denied()

    def subscribe(self) -> NoReturn:
        raise _unsupported("outgoing-datagram-stream.subscribe")


class ResolveAddressStream:
    """The resource ``resolve-address-stream``."""

    __slots__ = ()

    def resolve_next_address(self) -> Err[str]:
        return _denied()

    def subscribe(self) -> NoReturn:
        raise _unsupported("resolve-address-stream.subscribe")


class NetworkInterface:
    """The interface wasi:sockets/network."""

    Network = Network

    def __init__(self, context: WasiContext) -> None:
        pass

    def network_error_code(self, err: Error) -> str | None:
        """None: no stream of this host comes from a socket."""
        return None


class InstanceNetwork:
    """The interface wasi:sockets/instance-network."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def instance_network(self) -> Network:
        return Network()


class Tcp:
    """The interface wasi:sockets/tcp."""

    TcpSocket = TcpSocket

    def __init__(self, context: WasiContext) -> None:
        pass


class TcpCreateSocket:
    """The interface wasi:sockets/tcp-create-socket."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def create_tcp_socket(self, address_family: str) -> Err[str]:
        return _denied()


class Udp:
    """The interface wasi:sockets/udp."""

    UdpSocket = UdpSocket
    IncomingDatagramStream = IncomingDatagramStream
    OutgoingDatagramStream = OutgoingDatagramStream

    def __init__(self, context: WasiContext) -> None:
        pass


class UdpCreateSocket:
    """The interface wasi:sockets/udp-create-socket."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def create_udp_socket(self, address_family: str) -> Err[str]:
        return _denied()


class IpNameLookup:
    """The interface wasi:sockets/ip-name-lookup."""

    ResolveAddressStream = ResolveAddressStream

    def __init__(self, context: WasiContext) -> None:
        pass

    def resolve_addresses(self, network: Network, name: str) -> Err[str]:
        return _denied()
