"""The request handler for HTTP components, its options and its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.serve._logs import JsonFormatter
    from wasi_trio.serve._middleware import Chain
    from wasi_trio.serve.asgi._application import Application
    from wasi_trio.serve.pool._exchange import Exchange
    from wasi_trio.serve.pool._failures import ExchangeFailed
    from wasi_trio.serve.pool._handler import ProxyHandler
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._options import HandlerOptions
    from wasi_trio.serve.settings._setting import SettingError
    from wasi_trio.wasi.http._body import Body, BodyAborted
    from wasi_trio.wasi.http._messages import Request, Response

__all__ = [
    "Application",
    "Body",
    "BodyAborted",
    "Chain",
    "Exchange",
    "ExchangeFailed",
    "HandlerOptions",
    "JsonFormatter",
    "Metrics",
    "ProxyHandler",
    "Request",
    "Response",
    "SettingError",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Application": "wasi_trio.serve.asgi._application",
            "Body": "wasi_trio.wasi.http._body",
            "BodyAborted": "wasi_trio.wasi.http._body",
            "Chain": "wasi_trio.serve._middleware",
            "Exchange": "wasi_trio.serve.pool._exchange",
            "ExchangeFailed": "wasi_trio.serve.pool._failures",
            "HandlerOptions": "wasi_trio.serve.pool._options",
            "JsonFormatter": "wasi_trio.serve._logs",
            "Metrics": "wasi_trio.serve.pool._metrics",
            "ProxyHandler": "wasi_trio.serve.pool._handler",
            "Request": "wasi_trio.wasi.http._messages",
            "Response": "wasi_trio.wasi.http._messages",
            "SettingError": "wasi_trio.serve.settings._setting",
        },
    )
