"""HTTP between guests and the host: messages, bodies and outgoing requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.wasi.http._body import Body, BodyAborted
    from wasi_trio.wasi.http._client import Client
    from wasi_trio.wasi.http._connections import KeepAlive
    from wasi_trio.wasi.http._context import HttpOptions
    from wasi_trio.wasi.http._errors import HttpError
    from wasi_trio.wasi.http._messages import Request, Response

__all__ = [
    "Body",
    "BodyAborted",
    "Client",
    "HttpError",
    "HttpOptions",
    "KeepAlive",
    "Request",
    "Response",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Body": "wasi_trio.wasi.http._body",
            "BodyAborted": "wasi_trio.wasi.http._body",
            "Client": "wasi_trio.wasi.http._client",
            "HttpError": "wasi_trio.wasi.http._errors",
            "HttpOptions": "wasi_trio.wasi.http._context",
            "KeepAlive": "wasi_trio.wasi.http._connections",
            "Request": "wasi_trio.wasi.http._messages",
            "Response": "wasi_trio.wasi.http._messages",
        },
    )
