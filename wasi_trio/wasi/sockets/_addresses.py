"""Socket addresses, and WASI's rules on them beyond the system's."""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from typing import Any, NamedTuple

from wasi_trio.wasi._outbound import plain_address
from wasi_trio.wasi.sockets._errors import Code, SocketError


class Family(IntEnum):
    IPV4 = socket.AF_INET
    IPV6 = socket.AF_INET6

    @property
    def any(self) -> str:
        """The unspecified address, which covers all addresses of the machine."""
        return "0.0.0.0" if self is Family.IPV4 else "::"

    @property
    def loopback(self) -> str:
        return "127.0.0.1" if self is Family.IPV4 else "::1"


class Address(NamedTuple):
    """An IP address as text, and a port. ``flow`` and ``scope`` are for IPv6."""

    host: str
    port: int
    flow: int = 0
    scope: int = 0

    @property
    def family(self) -> Family:
        return Family.IPV6 if ":" in self.host else Family.IPV4

    @property
    def is_any(self) -> bool:
        return self.host == self.family.any

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def for_system(self) -> Any:
        """The address as an argument for the module ``socket``."""
        return tuple(self) if self.family is Family.IPV6 else (self.host, self.port)

    @classmethod
    def of_system(cls, given: Any) -> Address:
        """Return the address for a socket address of the module ``socket``."""
        host, port, *rest = given
        return cls(host.partition("%")[0], port, *rest)


def check_family(address: Address, family: Family) -> None:
    """Raise SocketError unless the address has the socket's family and does not embed an IPv4 address."""
    if address.family is not family:
        raise SocketError(Code.INVALID_ARGUMENT)
    if family is Family.IPV6:
        packed = socket.inet_pton(socket.AF_INET6, address.host)
        mapped = packed[:12] == bytes(10) + b"\xff\xff"
        # ::a.b.c.d is deprecated since 2006, and systems disagree about its meaning. But :: and ::1 have the same form.
        compatible = packed[:12] == bytes(12) and int.from_bytes(packed[12:], "big") > 1
        if mapped or compatible:
            raise SocketError(Code.INVALID_ARGUMENT)


def check_unicast(address: Address) -> None:
    ip = plain_address(address.host)
    if ip is None or ip.is_multicast or str(ip) == "255.255.255.255":
        raise SocketError(Code.INVALID_ARGUMENT)


def check_remote(address: Address) -> None:
    """Raise SocketError unless the address can be a destination."""
    if address.is_any or address.port == 0:
        raise SocketError(Code.INVALID_ARGUMENT)
