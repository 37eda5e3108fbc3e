"""Serving HTTP components: the request handler and what it takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.serve.asgi.application import Application
    from wasi_trio.serve.middleware import Chain
    from wasi_trio.serve.pool.exchange import Exchange, ExchangeFailed
    from wasi_trio.serve.pool.handler import ProxyHandler
    from wasi_trio.serve.pool.metrics import Metrics
    from wasi_trio.serve.pool.options import HandlerOptions
    from wasi_trio.serve.settings import SettingError
    from wasi_trio.wasi.http.body import Body, BodyAborted
    from wasi_trio.wasi.http.messages import Request, Response

__all__ = [
    "Application",
    "Body",
    "BodyAborted",
    "Chain",
    "Exchange",
    "ExchangeFailed",
    "HandlerOptions",
    "Metrics",
    "ProxyHandler",
    "Request",
    "Response",
    "SettingError",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Application": "wasi_trio.serve.asgi.application",
        "Body": "wasi_trio.wasi.http.body",
        "BodyAborted": "wasi_trio.wasi.http.body",
        "Chain": "wasi_trio.serve.middleware",
        "Exchange": "wasi_trio.serve.pool.exchange",
        "ExchangeFailed": "wasi_trio.serve.pool.exchange",
        "HandlerOptions": "wasi_trio.serve.pool.options",
        "Metrics": "wasi_trio.serve.pool.metrics",
        "ProxyHandler": "wasi_trio.serve.pool.handler",
        "Request": "wasi_trio.wasi.http.messages",
        "Response": "wasi_trio.wasi.http.messages",
        "SettingError": "wasi_trio.serve.settings",
    },
)
