"""The header section of a request in HTTP/1.1."""

from __future__ import annotations

import h11

from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._fields import FORBIDDEN
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.http._uri import encode_target

#: methods whose requests state the length of empty content (RFC 9110, section 8.6)
_METHODS_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})
#: idempotent methods (RFC 9110, section 9.2.2)
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def request_head(request: Request, size: int, keep: bool) -> tuple[h11.Request, bool]:
    """Return the request's header section, and whether its content is chunked.

    ``size`` is the size of the available content. ``keep`` is true if the connection may be kept.

    Raises HttpError if the request cannot be sent.
    """
    target = encode_target(request.path_with_query or "/")
    if target.startswith("?"):
        target = "/" + target
    headers = [(b"Host", (request.authority or "").encode())]
    if not keep:
        headers.append((b"Connection", b"close"))
    has_length = False
    for name, value in request.headers:
        key = name.lower()
        if key in FORBIDDEN:
            continue
        has_length = has_length or key == "content-length"
        headers.append((name.encode(), value))
    body = request.body
    chunked = False
    if not has_length:
        if not body.finished or body.error is not None or body.trailers:
            chunked = True
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif size or request.method in _METHODS_WITH_CONTENT:
            headers.append((b"Content-Length", b"%d" % size))
    try:
        return h11.Request(method=request.method, target=target, headers=headers), chunked
    except h11.LocalProtocolError as error:
        raise HttpError("HTTP-protocol-error") from error


def is_repeatable(request: Request) -> bool:
    """Return whether the request may be sent again if the server may have received it.

    HTTP permits that for all idempotent requests. A request with content is excluded, because its content is gone.
    """
    body = request.body
    return (
        request.method in IDEMPOTENT
        and body.finished
        and body.error is None
        and not body.buffered
        and not body.trailers
        and not any(name.lower() == "content-length" and value != b"0" for name, value in request.headers)
    )
