"""Conversion of an ASGI request into a WASI request."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from wasi_trio.serve._mounting import below
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request

Scope = MutableMapping[str, Any]


def build_request(scope: Scope) -> Request:
    """Convert an ASGI ``http`` scope into a request.

    Its body is still to be written, or is finished if HTTP/1's framing announces no content. Fields about the
    connection stay; the ``fields`` that a guest sees leave them out. The path is the part below the scope's
    ``root_path``, because a guest does not know its mount point. A path outside of ``root_path`` stays as it is.
    """
    headers: list[tuple[str, bytes]] = []
    authority: str | None = None
    # Only HTTP/1 announces content in its fields.
    has_body = not scope["http_version"].startswith("1")
    for name, value in scope["headers"]:
        if name == b"host":
            if authority is None:
                authority = value.decode("latin-1")
        elif name == b"content-length":
            has_body = has_body or value != b"0"
        elif name == b"transfer-encoding":
            has_body = True
        headers.append((name.decode("latin-1"), value))

    scheme: str = scope["scheme"]
    raw_path: bytes | None = scope.get("raw_path")
    target = scope["path"] if raw_path is None else raw_path.decode("latin-1")
    root: str = scope.get("root_path", "")
    if root:
        target = below(root.rstrip("/"), target, scope["path"])
    query: bytes = scope["query_string"]
    if query:
        target = f"{target}?{query.decode('latin-1')}"
    if not target.startswith("/"):
        scheme, authority, target = _split_target(scope["method"], scheme, authority, target)
    if not authority and scope.get("server") is not None:
        # HTTP/1.0 does not require a host field, and any may be empty. Use the address that the client connected to.
        authority = _address(*scope["server"])
    return Request(scope["method"], scheme, authority or None, target, headers, Body() if has_body else Body.empty())


def _split_target(method: str, scheme: str, authority: str | None, target: str) -> tuple[str, str | None, str]:
    """Return the scheme, the authority and the path of a target in another form than a path (RFC 9112, section 3.2)."""
    if method == "CONNECT":
        return scheme, target, ""
    prefix, separator, rest = target.partition("://")
    if not separator:
        return scheme, authority, target
    end = min((place for mark in "/?" if (place := rest.find(mark)) >= 0), default=len(rest))
    path = rest[end:]
    return prefix.lower(), rest[:end], path if path.startswith("/") else "/" + path


def _address(host: str, port: int | None) -> str:
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
