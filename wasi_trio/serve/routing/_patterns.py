"""What a route is for: a host and a prefix of paths, both in the form in which they are compared with requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import quote, unquote

#: a host's name: labels with dots in between, of which the first may be a wildcard
_NAME = re.compile(r"(?:\*\.)?[0-9a-z_-]+(?:\.[0-9a-z_-]+)*\Z")
_PORT = re.compile(r":[0-9]*\Z")
_ESCAPE = re.compile(r"%(?!2[Ff])([0-9A-Fa-f]{2})")
_SLASHES = re.compile(r"/{2,}")
_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: characters of a host's name, at most (RFC 1035, section 2.3.4); a longer one is no route's
MOST_HOST = 255


@dataclass(frozen=True, slots=True)
class Pattern:
    """The requests of a route.

    ``host`` is a name in lower case, ``*.`` and a name for all names below that, or empty for any host. ``prefix`` is a
    path without a slash at its end, so empty for all paths, with nothing percent-encoded.
    """

    host: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.host}{quote(self.prefix, safe='/:@!$&()*+,;=~', encoding='latin-1') or '/'}"

    @property
    def root_path(self) -> str:
        """The prefix as text in UTF-8, as far as it is such."""
        return self.prefix.encode("latin-1").decode("utf-8", "surrogateescape")


def parse_pattern(text: str) -> Pattern:
    """``HOST/PREFIX``, ``HOST`` or ``/PREFIX``; raises ValueError."""
    host, _, path = text.partition("/")
    return Pattern(_parse_host(host), parse_prefix(f"/{path}"))


def _parse_host(text: str) -> str:
    host = text.lower().removesuffix(".")
    if not host:
        return ""
    if _PORT.search(host) and not host.endswith("]"):
        raise ValueError(f"{text!r} has a port: a route is for a host at any port")
    if host.startswith("[") and host.endswith("]"):
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            raise ValueError(f"{text!r} is not an address of IPv6") from None
    if not host.isascii():
        raise ValueError(f"{text!r} is not in ASCII: write the host as clients send it, with xn--")
    if not _NAME.match(host) or len(host) > MOST_HOST:
        raise ValueError(f"{text!r} is not a host, *. and a host, or nothing for any host")
    return host


def parse_prefix(text: str) -> str:
    """The prefix of a pattern; raises ValueError."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} does not begin with a slash")
    if any(character in text for character in "?#\0"):
        raise ValueError(f"{text!r} is not the beginning of a path")
    if text.endswith("/...") or "*" in text:
        raise ValueError(f"{text!r}: a prefix is for all paths below it, and has no wildcard")
    if _MALFORMED.search(text) or "%2f" in text.lower():
        raise ValueError(f"{text!r} has a percent sign that encodes no character, or a slash")
    prefix = decoded(text.encode().decode("latin-1")).rstrip("/")
    if any(segment in ("", ".", "..") for segment in prefix.split("/")[1:]):
        raise ValueError(f"{text!r} has a segment that is empty or of dots")
    return prefix


def host_of(authority: str | None) -> str:
    """The host that a request is for, as it is compared: without a port, in lower case, without a dot at its end.

    Empty where there is none, or none that a route could be for.
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
    return host if len(host) <= MOST_HOST else ""


def decoded(path: str) -> str:
    """A path with all that is percent-encoded decoded, except for slashes, of which each octet is a character."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), path) if "%" in path else path


def without_dots(path: str) -> str:
    """A path without dot segments (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


def readings(path: str) -> set[str]:
    """What a program may take a path for, of which all but slashes is decoded.

    It may take encoded slashes for slashes, several slashes for one, and notice of dot segments, or not.
    """
    slashed = {path, path.replace("%2F", "/").replace("%2f", "/")}
    merged = slashed | {_SLASHES.sub("/", reading) for reading in slashed}
    return merged | {without_dots(reading) for reading in merged}
