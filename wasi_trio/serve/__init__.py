"""Serving HTTP components: the request handler and what it takes and gives."""

from __future__ import annotations

from wasi_trio.serve.exchange import Exchange, ExchangeFailed
from wasi_trio.serve.handler import ProxyHandler
from wasi_trio.serve.middleware import Chain
from wasi_trio.serve.options import HandlerOptions
from wasi_trio.wasi.http.body import Body, BodyAborted
from wasi_trio.wasi.http.messages import Request, Response

__all__ = [
    "Body",
    "BodyAborted",
    "Chain",
    "Exchange",
    "ExchangeFailed",
    "HandlerOptions",
    "ProxyHandler",
    "Request",
    "Response",
]
