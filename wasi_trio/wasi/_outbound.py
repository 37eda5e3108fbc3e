"""The allow-list of guests' destinations, for sockets and outgoing HTTP.

A list has any number of entries. It denies each destination that no entry admits.

| entry                  | admits                                                                                |
|------------------------|---------------------------------------------------------------------------------------|
| ``example.org``        | that host name                                                                        |
| ``*.example.org``      | all host names with that suffix, but not ``example.org`` itself                       |
| ``192.0.2.1``, ``::1`` | that address                                                                          |
| ``10.0.0.0/8``         | all addresses of that network                                                         |
| ``self``               | the addresses that this server itself listens on                                      |
| ``*``                  | everything                                                                            |
| ``HOST:PORT``          | only that port; not for networks; an IPv6 address requires brackets                   |
| ``SCHEME://HOST``      | only that protocol: tcp, udp, http or https; http and https imply their default ports |

This module only decides. It does not resolve names or open connections.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from wasi_trio.lazy import Pattern

#: the protocols of entries, with their default ports
SCHEMES: dict[str, int | None] = {"http": 80, "https": 443, "tcp": None, "udp": None}

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: the well-known prefix of IPv4/IPv6 translation (RFC 6052), and the address space of public IPv6
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = Pattern(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_PORT = Pattern(r"[0-9]{1,5}")


class Entry(NamedTuple):
    """An entry of the list. ``name`` is a host name, ``*.`` with a suffix, or ``*``."""

    scheme: str | None = None
    port: int | None = None
    name: str | None = None
    network: IpNetwork | None = None
    own: bool = False

    def admits_protocol(self, scheme: str, port: int) -> bool:
        return self.scheme in (None, scheme) and self.port in (None, port)

    def admits_name(self, name: str) -> bool:
        if self.name is None:
            return False
        if self.name.startswith("*"):
            return self.name == "*" or name.endswith(self.name[1:])
        return self.name == name


@dataclass(frozen=True, slots=True)
class Outbound:
    """An allow-list. ``own`` holds the addresses and ports of ``self``.

    With ``block_private``, only three kinds of entries admit an address that is not public: the address itself, a
    network without public addresses, and ``self``. Names, including ``*``, do not.
    """

    entries: tuple[Entry, ...] = ()
    own: frozenset[tuple[str, int]] = frozenset()
    block_private: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Outbound:
        """Return a list from its entries as text. Raises ValueError with a one-line message for malformed entries."""
        return cls(tuple(map(parse_entry, texts)))

    def with_own(self, addresses: Collection[tuple[str, int]]) -> Outbound:
        """Return a copy of the list with the addresses and ports of ``self``."""
        return replace(self, own=frozenset(addresses))

    @property
    def has_addresses(self) -> bool:
        """Whether the list has entries that admit an address for any host name."""
        return any(entry.network is not None or entry.own or entry.name == "*" for entry in self.entries)

    def admits_name(self, scheme: str, name: str, port: int) -> bool:
        """Return whether the list admits a host name, regardless of its addresses."""
        plain = plain_name(name)
        return any(entry.admits_protocol(scheme, port) and entry.admits_name(plain) for entry in self.entries)

    def admits_address(self, scheme: str, address: str, port: int) -> bool:
        """Return whether the list admits an IP address."""
        ip = plain_address(address)
        if ip is None:
            return False
        blocked = self.block_private and not is_public(ip)
        return any(
            entry.admits_protocol(scheme, port)
            and self._admits(entry, ip, port)
            and (not blocked or entry.own or _has_no_public(entry.network))
            for entry in self.entries
        )

    def admits_connection(self, scheme: str, name: str, address: str, port: int) -> bool:
        """Return whether the list admits a connection to a host at an address."""
        if self.admits_address(scheme, address, port):
            return True
        if not self.admits_name(scheme, name, port):
            return False
        ip = plain_address(address)
        return ip is not None and (not self.block_private or is_public(ip))

    def admits_look_up(self, name: str) -> bool:
        """Return whether a guest may resolve a name. An entry must admit the name, because DNS queries carry data."""
        plain = plain_name(name)
        return any(entry.admits_name(plain) for entry in self.entries)

    def _admits(self, entry: Entry, ip: IpAddress, port: int) -> bool:
        if entry.name == "*":
            return True
        if entry.network is not None:
            return ip.version == entry.network.version and ip in entry.network
        return entry.own and any(port == own and _reaches(ip, host) for host, own in self.own)


def is_public(ip: IpAddress) -> bool:
    """Return whether an address is public: not loopback, private, link-local, multicast or the like.

    An IPv6 address with an embedded IPv4 address (mapped, 6to4, NAT64 with the well-known prefix) is judged by the
    latter.
    """
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
        inside = ip.ipv4_mapped or ip.sixtofour
        if inside is not None:
            return is_public(inside)
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


def _has_no_public(network: IpNetwork | None) -> bool:
    return network is not None and (not network.is_global or network.is_multicast)


def _reaches(ip: IpAddress, host: str) -> bool:
    """Return whether a connection from this machine to ``ip`` reaches a server that listens on ``host``."""
    listening = plain_address(host)
    if listening is not None and listening.is_unspecified:
        # The unspecified address covers all addresses of the machine. Only the loopback ones are known here.
        return ip.is_loopback
    return ip == listening


def plain_name(name: str) -> str:
    """Return a host name in canonical form: lower case, ASCII, without a final dot."""
    plain = name.lower().removesuffix(".")
    try:
        return plain.encode("idna").decode("ascii") if not plain.isascii() else plain
    except UnicodeError:
        return plain


def plain_address(text: str) -> IpAddress | None:
    """Return an IP address without its scope, and an IPv4-mapped address as IPv4. Return None for other text."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip if mapped is None else mapped


def parse_entry(text: str) -> Entry:
    """Parse an entry of a list. Raises ValueError."""
    target, scheme = text.strip(), None
    before, separator, after = target.partition("://")
    if separator:
        scheme, target = before.lower(), after.removesuffix("/")
        if scheme not in SCHEMES:
            raise ValueError(f"{text!r} has an unknown protocol; use one of {', '.join(SCHEMES)}")
    host, port = _split_port(target)
    if port is None and scheme is not None:
        port = SCHEMES[scheme]
    entry = _parse_host(host)
    if entry is None or port == 0 or (entry.network is not None and "/" in host and target != host):
        raise ValueError(f"{text!r} is not of the form HOST, HOST:PORT, SCHEME://HOST, an address or a network")
    return entry._replace(scheme=scheme, port=port)


def _split_port(target: str) -> tuple[str, int | None]:
    if plain_address(target) is not None:  # ::1 has no port
        return target, None
    host, colon, port = target.rpartition(":")
    if not colon or _PORT.fullmatch(port) is None or int(port) > 65535 or (":" in host and not host.endswith("]")):
        return target, None
    return host, int(port)


def _parse_host(host: str) -> Entry | None:
    if host == "self":
        return Entry(own=True)
    if host == "*":
        return Entry(name="*")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    address = plain_address(bare)
    if address is not None:
        return Entry(network=ipaddress.ip_network(address))
    if "/" in host:
        try:
            return Entry(network=ipaddress.ip_network(host, strict=False))
        except ValueError:
            return None
    name = plain_name(host)
    # A name with a numeric last label is an old notation of an address, such as 127.1, and never matches.
    if _NAME.fullmatch(name) is None or len(name) > 253 or name.rpartition(".")[2].isdigit():
        return None
    return Entry(name=name)
