"""wasi:sockets 0.3, all of it refused: guests that import it link, and every operation answers ``access-denied``.

A guest gets a socket only from ``create``, so it can never have one to call a method on.
"""

from __future__ import annotations

from typing import Any, NoReturn

from wasi_trio.component.errors import Unsupported
from wasi_trio.component.values import Err, Variant
from wasi_trio.wasi.context import WasiContext


def _denied() -> Err[Variant]:
    return Err(Variant("access-denied"))


def _unsupported(function: str) -> Unsupported:
    return Unsupported(f"wasi:sockets/types: {function} was called, and this host has no sockets to offer")


class TcpSocket:
    """The resource ``tcp-socket``."""

    __slots__ = ()

    @staticmethod
    def create(address_family: str) -> Err[Variant]:
        return _denied()

    def bind(self, local_address: Variant) -> Err[Variant]:
        return _denied()

    def connect(self, remote_address: Variant) -> Err[Variant]:
        return _denied()

    def listen(self) -> Err[Variant]:
        return _denied()

    def send(self, data: Any) -> NoReturn:
        raise _unsupported("tcp-socket.send")

    def receive(self) -> NoReturn:
        raise _unsupported("tcp-socket.receive")

    def get_local_address(self) -> Err[Variant]:
        return _denied()

    def get_remote_address(self) -> Err[Variant]:
        return _denied()

    def get_is_listening(self) -> NoReturn:
        raise _unsupported("tcp-socket.get-is-listening")

    def get_address_family(self) -> NoReturn:
        raise _unsupported("tcp-socket.get-address-family")

    def set_listen_backlog_size(self, value: int) -> Err[Variant]:
        return _denied()

    def get_keep_alive_enabled(self) -> Err[Variant]:
        return _denied()

    def set_keep_alive_enabled(self, value: bool) -> Err[Variant]:
        return _denied()

    def get_keep_alive_idle_time(self) -> Err[Variant]:
        return _denied()

    def set_keep_alive_idle_time(self, value: int) -> Err[Variant]:
        return _denied()

    def get_keep_alive_interval(self) -> Err[Variant]:
        return _denied()

    def set_keep_alive_interval(self, value: int) -> Err[Variant]:
        return _denied()

    def get_keep_alive_count(self) -> Err[Variant]:
        return _denied()

    def set_keep_alive_count(self, value: int) -> Err[Variant]:
        return _denied()

    def get_hop_limit(self) -> Err[Variant]:
        return _denied()

    def set_hop_limit(self, value: int) -> Err[Variant]:
        return _denied()

    def get_receive_buffer_size(self) -> Err[Variant]:
        return _denied()

    def set_receive_buffer_size(self, value: int) -> Err[Variant]:
        return _denied()

    def get_send_buffer_size(self) -> Err[Variant]:
        return _denied()

    def set_send_buffer_size(self, value: int) -> Err[Variant]:
        return _denied()


class UdpSocket:
    """The resource ``udp-socket``."""

    __slots__ = ()

    @staticmethod
    def create(address_family: str) -> Err[Variant]:
        return _denied()

    def bind(self, local_address: Variant) -> Err[Variant]:
        return _denied()

    def connect(self, remote_address: Variant) -> Err[Variant]:
        return _denied()

    def disconnect(self) -> Err[Variant]:
        return _denied()

    def send(self, data: bytes, remote_address: Any) -> Err[Variant]:
        return _denied()

    def receive(self) -> Err[Variant]:
        return _denied()

    def get_local_address(self) -> Err[Variant]:
        return _denied()

    def get_remote_address(self) -> Err[Variant]:
        return _denied()

    def get_address_family(self) -> NoReturn:
        raise _unsupported("udp-socket.get-address-family")

    def get_unicast_hop_limit(self) -> Err[Variant]:
        return _denied()

    def set_unicast_hop_limit(self, value: int) -> Err[Variant]:
        return _denied()

    def get_receive_buffer_size(self) -> Err[Variant]:
        return _denied()

    def set_receive_buffer_size(self, value: int) -> Err[Variant]:
        return _denied()

    def get_send_buffer_size(self) -> Err[Variant]:
        return _denied()

    def set_send_buffer_size(self, value: int) -> Err[Variant]:
        return _denied()


class Types:
    """The interface wasi:sockets/types."""

    TcpSocket = TcpSocket
    UdpSocket = UdpSocket

    def __init__(self, context: WasiContext) -> None:
        pass


class IpNameLookup:
    """The interface wasi:sockets/ip-name-lookup."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def resolve_addresses(self, name: str) -> Err[Variant]:
        return _denied()
