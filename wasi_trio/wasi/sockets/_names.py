"""The syntax of host names for resolution, which is that of a URL's host (WHATWG URL, "host parsing")."""

from __future__ import annotations

import ipaddress
import socket

from wasi_trio.lazy import Pattern
from wasi_trio.wasi.sockets._errors import Code, SocketError

#: maximum characters of a host name
LONGEST = 1024

_FORBIDDEN = Pattern(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
_NUMBER = Pattern(r"[0-9]+|0[xX][0-9a-fA-F]*")
_ADDRESS = Pattern(r"[0-9a-fA-FxX.]+")


def parse_host(text: str) -> tuple[str | None, str]:
    """Return the IP address, if the text is one, and the name in ASCII. Raises SocketError for invalid names."""
    if len(text) > LONGEST:
        raise _invalid()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            ip = ipaddress.IPv6Address(bare)
        except ValueError:
            raise _invalid() from None
        if ip.scope_id is not None:
            raise _invalid()  # an address of WIT has no place for it
        # A socket takes no IPv4-mapped address, so a guest gets the IPv4 address in it.
        return str(ip.ipv4_mapped or ip), text
    name = _to_ascii(text)
    last = name.removesuffix(".").rpartition(".")[2]
    if _NUMBER.fullmatch(last) is None:
        return None, name
    # A name with a numeric last label is an IPv4 address, perhaps in an old notation: 127.1, 0x7f.1, 2130706433.
    try:
        if _ADDRESS.fullmatch(name) is not None:
            return socket.inet_ntoa(socket.inet_aton(name.removesuffix("."))), name
    except OSError:
        pass
    raise _invalid()


def _to_ascii(text: str) -> str:
    try:
        name = text.lower() if text.isascii() else text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _invalid() from None
    labels = name.removesuffix(".").split(".")
    if _FORBIDDEN.search(name) or len(name) > 253 or not all(0 < len(label) <= 63 for label in labels):
        raise _invalid()
    for label in labels:
        if label.startswith("xn--"):
            try:
                if not label[4:].encode("ascii").decode("punycode"):
                    raise _invalid()
            except UnicodeError:
                raise _invalid() from None
    return name


def _invalid() -> SocketError:
    return SocketError(Code.INVALID_ARGUMENT)
