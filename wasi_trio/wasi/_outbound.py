"""The allow-list for the destinations of guests: one for sockets and for outgoing HTTP.

A list has any number of entries of these forms. A destination that no entry admits is denied.

| entry                  | admits                                                                                |
|------------------------|---------------------------------------------------------------------------------------|
| ``example.org``        | that host, by its name                                                                |
| ``*.example.org``      | every host whose name ends so, but not ``example.org`` itself                         |
| ``192.0.2.1``, ``::1`` | that address                                                                          |
| ``10.0.0.0/8``         | every address of the network                                                          |
| ``self``               | the addresses that this server itself listens on                                      |
| ``*``                  | everything                                                                            |
| ``HOST:PORT``          | only that port of any of these but a network; an IPv6 address stands in brackets      |
| ``SCHEME://HOST``      | only that protocol: tcp, udp, http or https, these on their own port if none is given |

This module only decides. It looks nothing up and connects to nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

#: the protocols of entries, and the port that stands for each where an entry says none
SCHEMES: dict[str, int | None] = {"http": 80, "https": 443, "tcp": None, "udp": None}

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: the common prefix for IPv4 addresses behind a translator (RFC 6052), and all of IPv6 that is assigned for the public
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_name = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*").fullmatch
_port = re.compile(r"[0-9]{1,5}").fullmatch


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``name`` is the name of a host, ``*.`` and a suffix, or ``*``."""

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
    """An allow-list. ``own`` are the addresses and ports that ``self`` stands for.

    With ``block_private`` an address that is not public is admitted by entries alone that are an address, a network
    without public addresses or ``self``, and by no name, ``*`` included.
    """

    entries: tuple[Entry, ...] = ()
    own: frozenset[tuple[str, int]] = frozenset()
    block_private: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Outbound:
        """A list of such entries; raises ValueError, with one line, for a text of another form."""
        return cls(tuple(map(parse_entry, texts)))

    def with_own(self, addresses: Collection[tuple[str, int]]) -> Outbound:
        """The same list, with these addresses and ports for ``self``."""
        return replace(self, own=frozenset(addresses))

    @property
    def has_addresses(self) -> bool:
        """Whether the list has entries that admit addresses whatever the name of the host."""
        return any(entry.network is not None or entry.own or entry.name == "*" for entry in self.entries)

    def admits_name(self, scheme: str, name: str, port: int) -> bool:
        """Whether the list admits a host by its name, whatever its addresses."""
        plain = plain_name(name)
        return any(entry.admits_protocol(scheme, port) and entry.admits_name(plain) for entry in self.entries)

    def admits_address(self, scheme: str, address: str, port: int) -> bool:
        """Whether the list admits an IP address."""
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
        """Whether the list admits a host at an address: the one that is connected to."""
        if self.admits_address(scheme, address, port):
            return True
        if not self.admits_name(scheme, name, port):
            return False
        ip = plain_address(address)
        return ip is not None and (not self.block_private or is_public(ip))

    def admits_look_up(self, name: str) -> bool:
        """Whether a guest may look up a name: only if an entry has it, because a DNS query carries data too."""
        plain = plain_name(name)
        return any(entry.admits_name(plain) for entry in self.entries)

    def _admits(self, entry: Entry, ip: IpAddress, port: int) -> bool:
        if entry.name == "*":
            return True
        if entry.network is not None:
            return ip.version == entry.network.version and ip in entry.network
        return entry.own and any(port == own and _is_at(ip, host) for host, own in self.own)


def is_public(ip: IpAddress) -> bool:
    """Whether an address is one of the public network: not of this machine, a private network, a link or a group.

    Forms of IPv6 with an IPv4 address in them (mapped, 6to4, NAT64's common prefix) are what that address is.
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


def _is_at(ip: IpAddress, host: str) -> bool:
    """Whether a connection to ``ip`` from this machine reaches a server that listens on ``host``."""
    listening = plain_address(host)
    if listening is not None and listening.is_unspecified:
        # That is all addresses of the machine, of which only those of the loopback are known here.
        return ip.is_loopback
    return ip == listening


def plain_name(name: str) -> str:
    """A host's name as lists have it: in lower case and ASCII, without a dot at its end."""
    plain = name.lower().removesuffix(".")
    try:
        return plain.encode("idna").decode("ascii") if not plain.isascii() else plain
    except UnicodeError:
        return plain


def plain_address(text: str) -> IpAddress | None:
    """An IP address without its scope, with an IPv4-mapped address as IPv4; None for any other text."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip if mapped is None else mapped


def parse_entry(text: str) -> Entry:
    """An entry of a list; raises ValueError."""
    target, scheme = text.strip(), None
    before, separator, after = target.partition("://")
    if separator:
        scheme, target = before.lower(), after.removesuffix("/")
        if scheme not in SCHEMES:
            raise ValueError(f"{text!r} is of no protocol that is known: {', '.join(SCHEMES)}")
    host, port = _split_port(target)
    if port is None and scheme is not None:
        port = SCHEMES[scheme]
    entry = _parse_host(host)
    if entry is None or port == 0 or (entry.network is not None and "/" in host and target != host):
        raise ValueError(f"{text!r} is not of the form HOST, HOST:PORT, SCHEME://HOST, an address or a network")
    return replace(entry, scheme=scheme, port=port)


def _split_port(target: str) -> tuple[str, int | None]:
    if plain_address(target) is not None:  # ::1 ends in no port
        return target, None
    host, colon, port = target.rpartition(":")
    if not colon or _port(port) is None or int(port) > 65535 or (":" in host and not host.endswith("]")):
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
    # A text that ends in a number is an old notation of an address, such as 127.1, and never matches as a name.
    if _name(name) is None or len(name) > 253 or name.rpartition(".")[2].isdigit():
        return None
    return Entry(name=name)
