"""The parts of a URI that identify a request's target (RFC 3986)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote

from wasi_trio.lazy import Pattern
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import is_token
from wasi_trio.wasi.http._messages import Request

_SCHEME = Pattern(r"[A-Za-z][A-Za-z0-9+.-]{0,63}")
# RFC 3986 allows fewer characters and requires percent-encoding for others. Clients send them unencoded all the same,
# and servers accept them: the characters that the WHATWG's URL Standard does not encode, and JSON in some paths.
# The sets are negated, because a set with characters beyond U+FFFF takes 3 ms to compile.
_PATH_WITH_QUERY = Pattern(r"[^\x00- #<>?`\x7f]*(?:\?[^\x00- \"#<>`\x7f]*)?")
_TARGET = Pattern(r"(?:\*|[/?].*)?", re.DOTALL)
#: visible ASCII, which a request line may contain, is not encoded again
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_AUTHORITY = Pattern(
    r"(?:(?P<userinfo>(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*)@)?"
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


def is_scheme(text: str) -> bool:
    return _SCHEME.fullmatch(text) is not None


def is_path_with_query(text: str) -> bool:
    """Return whether the text is a path, absolute or relative, with an optional query. Non-ASCII is allowed."""
    return _PATH_WITH_QUERY.fullmatch(text) is not None


def is_target(text: str) -> bool:
    """Return whether the text can follow an authority: nothing, ``*``, a query, or an absolute path."""
    return is_path_with_query(text) and _TARGET.fullmatch(text) is not None


def encode_target(text: str) -> str:
    """Return a target for a request line, with non-ASCII characters percent-encoded (RFC 3987, section 3.1)."""
    return text if text.isascii() else quote(text, safe=_VISIBLE)


def split_authority(text: str) -> tuple[str | None, str, int | None]:
    """Split an authority into user information, host (without the brackets of IPv6) and port.

    Raises ValueError unless it is a well-formed authority with a host.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid authority: {text[:100]!r}")
    literal = match["literal"]
    if literal is not None:
        ipaddress.IPv6Address(literal)
    port = int(match["port"]) if match["port"] is not None else None
    if port is not None and port > 65535:
        raise ValueError(f"invalid port: {port}")
    return match["userinfo"], literal or match["name"], port


class Destination(NamedTuple):
    """The destination of a request."""

    secure: bool
    host: str
    port: int


def destination(request: Request) -> Destination:
    """Return the destination of an outgoing request. The default scheme is https. Raises HttpError."""
    scheme = (request.scheme or "https").lower()
    if scheme not in ("http", "https"):
        raise HttpError("HTTP-protocol-error")
    # CONNECT would create a tunnel, which a request and a response cannot represent.
    if not is_token(request.method) or request.method == "CONNECT":
        raise HttpError("HTTP-request-method-invalid")
    try:
        user, host, port = split_authority(request.authority or "")
    except ValueError:
        raise HttpError("HTTP-request-URI-invalid") from None
    if user is not None or not is_target(request.path_with_query or ""):
        raise HttpError("HTTP-request-URI-invalid")
    if port is None:
        port = 443 if scheme == "https" else 80
    return Destination(scheme == "https", host, port)
