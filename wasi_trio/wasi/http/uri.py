"""The parts of a URI that a guest names a request's target with (RFC 3986)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.http.fields import is_token
from wasi_trio.wasi.http.messages import Request

_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,63}").fullmatch
_path = re.compile(r"(?:\*|[/?][!-\"$-~]*)?").fullmatch
_authority = re.compile(
    r"(?:(?P<userinfo>(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*)@)?"
    r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
).fullmatch


def is_scheme(text: str) -> bool:
    return _scheme(text) is not None


def is_path_with_query(text: str) -> bool:
    """Whether this can be the target of a request line: empty, ``*``, or a path or query in visible ASCII."""
    return _path(text) is not None


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
    """Where an outgoing request goes, https being the default; raises HttpError where it can not be sent at all."""
    scheme = (request.scheme or "https").lower()
    if scheme not in ("http", "https"):
        raise HttpError("HTTP-protocol-error")
    # CONNECT would turn the connection into a tunnel, which a request and its response can not express.
    if not is_token(request.method) or request.method == "CONNECT":
        raise HttpError("HTTP-request-method-invalid")
    try:
        user, host, port = split_authority(request.authority or "")
    except ValueError:
        raise HttpError("HTTP-request-URI-invalid") from None
    if user is not None or not is_path_with_query(request.path_with_query or ""):
        raise HttpError("HTTP-request-URI-invalid")
    if port is None:
        port = 443 if scheme == "https" else 80
    return Destination(scheme == "https", host, port)
