"""HTTP as guests and the host exchange it: messages, their bodies, and requests to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.wasi.http.body import Body, BodyAborted
    from wasi_trio.wasi.http.client import Client
    from wasi_trio.wasi.http.context import HttpOptions
    from wasi_trio.wasi.http.errors import HttpError
    from wasi_trio.wasi.http.messages import Request, Response

__all__ = [
    "Body",
    "BodyAborted",
    "Client",
    "HttpError",
    "HttpOptions",
    "Request",
    "Response",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Body": "wasi_trio.wasi.http.body",
        "BodyAborted": "wasi_trio.wasi.http.body",
        "Client": "wasi_trio.wasi.http.client",
        "HttpError": "wasi_trio.wasi.http.errors",
        "HttpOptions": "wasi_trio.wasi.http.context",
        "Request": "wasi_trio.wasi.http.messages",
        "Response": "wasi_trio.wasi.http.messages",
    },
)
