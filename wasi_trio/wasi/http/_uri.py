"""The parts of a URI that a guest names a request's target with (RFC 3986)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import quote

from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import is_token
from wasi_trio.wasi.http._messages import Request

_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,63}").fullmatch
# RFC 3986 has fewer characters, and wants the others percent-encoded. Clients send them as they are all the same, and
# servers take them: those that the WHATWG's URL Standard leaves as they are, and here and there a path with JSON in it.
_path_with_query = re.compile(r"[!\"$-;=@-_a-~\x80-\U0010ffff]*(?:\?[!$-;=?-_a-~\x80-\U0010ffff]*)?").fullmatch
_target = re.compile(r"(?:\*|[/?].*)?", re.DOTALL).fullmatch
#: what a request line can have, which is visible ASCII, is not encoded a second time
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_authority = re.compile(
    r"(?:(?P<userinfo>(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*)@)?"
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
).fullmatch


def is_scheme(text: str) -> bool:
    return _scheme(text) is not None


def is_path_with_query(text: str) -> bool:
    """Whether this is a path, relative or not, with a query or none; characters beyond ASCII may be in it."""
    return _path_with_query(text) is not None


def is_target(text: str) -> bool:
    """Whether this can follow an authority, and so be sent: nothing, ``*``, a query, or a path from the root on."""
    return is_path_with_query(text) and _target(text) is not None


def encode_target(text: str) -> str:
    """A target as a request line has it: what is beyond ASCII is percent-encoded (RFC 3987, section 3.1)."""
    return text if text.isascii() else quote(text, safe=_VISIBLE)


def split_authority(text: str) -> tuple[str | None, str, int | None]:
    """The user information, host (an IPv6 address without its brackets) and port of an authority.

    Raises ValueError where it is not a well-formed authority with a host.
    """
    match = _authority(text)
    if match is None:
        raise ValueError(f"not an authority: {text[:100]!r}")
    literal = match["literal"]
    if literal is not None:
        ipaddress.IPv6Address(literal)
    port = int(match["port"]) if match["port"] is not None else None
    if port is not None and port > 65535:
        raise ValueError(f"not a port: {port}")
    return match["userinfo"], literal or match["name"], port


class Destination(NamedTuple):
    """Where a request goes."""

    secure: bool
    host: str
    port: int


def destination(request: Request) -> Destination:
    """Where an outgoing request goes, https being the default; raises HttpError where it cannot be sent at all."""
    scheme = (request.scheme or "https").lower()
    if scheme not in ("http", "https"):
        raise HttpError("HTTP-protocol-error")
    # CONNECT would turn the connection into a tunnel, which a request and its response cannot express.
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
