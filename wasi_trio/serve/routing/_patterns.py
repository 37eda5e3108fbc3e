"""The patterns of routes: a host and a path prefix, in the normalized form for comparison with requests."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple
from urllib.parse import quote, unquote

#: A host name: labels separated by dots. The first label may be a wildcard.
_NAME = re.compile(r"(?:\*\.)?[0-9a-z_-]+(?:\.[0-9a-z_-]+)*\Z")
_PORT = re.compile(r":[0-9]*\Z")
_ESCAPE = re.compile(r"%(?!2[Ff])([0-9A-Fa-f]{2})")
_SLASHES = re.compile(r"/{2,}")
_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: The maximum length of a host name (RFC 1035, section 2.3.4). Longer ones match no route.
MAX_HOST_LENGTH = 255


class Pattern(NamedTuple):
    """A pattern of requests.

    ``host`` is a name in lower case, ``*.`` with a name for all names below that, or empty for any host. ``prefix`` is
    a decoded path without a slash at its end, so it is empty for all paths.
    """

    host: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.host}{quote(self.prefix, safe='/:@!$&()*+,;=~', encoding='latin-1') or '/'}"

    @property
    def root_path(self) -> str:
        """The prefix as UTF-8 text, as far as it is valid."""
        return self.prefix.encode("latin-1").decode("utf-8", "surrogateescape")


def parse_pattern(text: str) -> Pattern:
    """Parse ``HOST/PREFIX``, ``HOST`` or ``/PREFIX``. Raise ValueError."""
    host, _, path = text.partition("/")
    return Pattern(_parse_host(host), parse_prefix(f"/{path}"))


def _parse_host(text: str) -> str:
    host = text.lower().removesuffix(".")
    if not host:
        return ""
    if _PORT.search(host) and not host.endswith("]"):
        raise ValueError(f"{text!r} has a port: a route applies to all ports of a host")
    if host.startswith("[") and host.endswith("]"):
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            raise ValueError(f"{text!r} is not an IPv6 address") from None
    if not host.isascii():
        raise ValueError(f"{text!r} is not ASCII: write the host as clients send it, with xn--")
    if not _NAME.match(host) or len(host) > MAX_HOST_LENGTH:
        raise ValueError(f"{text!r} is not a host, *. and a host, or nothing for any host")
    return host


def parse_prefix(text: str) -> str:
    """Parse the prefix of a pattern. Raise ValueError."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} does not begin with a slash")
    if any(character in text for character in "?#\0"):
        raise ValueError(f"{text!r} is not the beginning of a path")
    if text.endswith("/...") or "*" in text:
        raise ValueError(f"{text!r} has a wildcard: a prefix already applies to all paths below it")
    if _MALFORMED.search(text) or "%2f" in text.lower():
        raise ValueError(f"{text!r} has an encoded slash, or a percent sign without two hexadecimal digits")
    prefix = decoded(text.encode().decode("latin-1")).rstrip("/")
    if any(segment in ("", ".", "..") for segment in prefix.split("/")[1:]):
        raise ValueError(f"{text!r} has a segment that is empty, '.' or '..'")
    return prefix


def host_of(authority: str | None) -> str:
    """Return the host of a request for comparison: in lower case, without a port and without a dot at its end.

    Return an empty string for a missing host, or one that no route could match.
    """
    if not authority:
        return ""
    host = _PORT.sub("", authority.lower())
    if "%" in host:
        host = unquote(host, "latin-1").lower()
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            return ""
    host = host.removesuffix(".")
    return host if len(host) <= MAX_HOST_LENGTH else ""


def decoded(path: str) -> str:
    """Decode everything in a path but slashes. Each octet becomes a character."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), path) if "%" in path else path


def without_dots(path: str) -> str:
    """Return a path without dot segments (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def readings(path: str) -> set[str]:
    """Return the possible interpretations of a path. The path is decoded except for slashes.

    A program may decode encoded slashes, merge successive slashes and resolve dot segments, or leave each of them.
    """
    slashed = {path, path.replace("%2F", "/").replace("%2f", "/")}
    merged = slashed | {_SLASHES.sub("/", reading) for reading in slashed}
    return merged | {without_dots(reading) for reading in merged}
