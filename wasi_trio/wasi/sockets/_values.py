"""Conversions of addresses to and from WIT values, which are the same in both versions of WASI."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, NamedTuple

from wasi_trio.component._values import Variant
from wasi_trio.wasi.sockets._addresses import Address, Family

#: the families by their names in ``ip-address-family``
FAMILIES = {"ipv4": Family.IPV4, "ipv6": Family.IPV6}
FAMILY_NAMES = {family: name for name, family in FAMILIES.items()}


class Ipv4SocketAddress(NamedTuple):
    port: int
    address: tuple[int, ...]


class Ipv6SocketAddress(NamedTuple):
    port: int
    flow_info: int
    address: tuple[int, ...]
    scope_id: int


def from_socket_address(value: Variant) -> Address:
    """Convert an ``ip-socket-address``."""
    record: Any = value.value
    if value.case == "ipv4":
        return Address(socket.inet_ntoa(bytes(record.address)), record.port)
    packed = b"".join(group.to_bytes(2, "big") for group in record.address)
    # The system's flow label has 20 bits, and larger values are refused.
    flow = record.flow_info & 0xFFFFF
    return Address(socket.inet_ntop(socket.AF_INET6, packed), record.port, flow, record.scope_id)


def to_socket_address(address: Address) -> Variant:
    """Return an ``ip-socket-address``."""
    ip = to_ip_address(address.host)
    if address.family is Family.IPV4:
        return Variant("ipv4", Ipv4SocketAddress(address.port, ip.value))
    return Variant("ipv6", Ipv6SocketAddress(address.port, address.flow, ip.value, address.scope))


def to_ip_address(host: str) -> Variant:
    """Return an ``ip-address``."""
    packed = ipaddress.ip_address(host).packed
    if len(packed) == 4:
        return Variant("ipv4", tuple(packed))
    return Variant("ipv6", tuple(int.from_bytes(packed[at : at + 2], "big") for at in range(0, 16, 2)))
