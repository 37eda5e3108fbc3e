"""A harness for tests of components, inside trio and without a socket.

::

    async with component("app.wasm") as app:
        response = await app.get("/x")
        assert response.status == 200
        assert await response.text() == "hello"

``server`` puts the component behind a real server, ``run`` runs commands. pytest finds the fixtures ``wasi_component``
and ``wasi_server`` by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.serve.exchange import DeadlinePassed, ExchangeFailed, GuestFailed, InstantiationFailed, Overloaded
    from wasi_trio.serve.outcomes import Retirement
    from wasi_trio.testing.app import App, RequestParts, Response, component
    from wasi_trio.testing.commands import CommandResult, run
    from wasi_trio.testing.failures import ResponseCut
    from wasi_trio.testing.live import LiveServer, server
    from wasi_trio.testing.messages import Headers
    from wasi_trio.testing.opener import Opener
    from wasi_trio.testing.outgoing import Answer, OutgoingHandler, OutgoingRequest, UnexpectedRequest
    from wasi_trio.testing.pool import InstanceRecord
    from wasi_trio.testing.scratch import scratch_directory
    from wasi_trio.testing.settings import GuestSettings, Settings
    from wasi_trio.testing.sources import Source
    from wasi_trio.wasi.http.errors import HttpError
    from wasi_trio.wasi.loading import LoadError

__all__ = [
    "Answer",
    "App",
    "CommandResult",
    "DeadlinePassed",
    "ExchangeFailed",
    "GuestFailed",
    "GuestSettings",
    "Headers",
    "HttpError",
    "InstanceRecord",
    "InstantiationFailed",
    "LiveServer",
    "LoadError",
    "Opener",
    "OutgoingHandler",
    "OutgoingRequest",
    "Overloaded",
    "RequestParts",
    "Response",
    "ResponseCut",
    "Retirement",
    "Settings",
    "Source",
    "UnexpectedRequest",
    "component",
    "run",
    "scratch_directory",
    "server",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Answer": "wasi_trio.testing.outgoing",
        "App": "wasi_trio.testing.app",
        "CommandResult": "wasi_trio.testing.commands",
        "DeadlinePassed": "wasi_trio.serve.exchange",
        "ExchangeFailed": "wasi_trio.serve.exchange",
        "GuestFailed": "wasi_trio.serve.exchange",
        "GuestSettings": "wasi_trio.testing.settings",
        "Headers": "wasi_trio.testing.messages",
        "HttpError": "wasi_trio.wasi.http.errors",
        "InstanceRecord": "wasi_trio.testing.pool",
        "InstantiationFailed": "wasi_trio.serve.exchange",
        "LiveServer": "wasi_trio.testing.live",
        "LoadError": "wasi_trio.wasi.loading",
        "Opener": "wasi_trio.testing.opener",
        "OutgoingHandler": "wasi_trio.testing.outgoing",
        "OutgoingRequest": "wasi_trio.testing.outgoing",
        "Overloaded": "wasi_trio.serve.exchange",
        "RequestParts": "wasi_trio.testing.app",
        "Response": "wasi_trio.testing.app",
        "ResponseCut": "wasi_trio.testing.failures",
        "Retirement": "wasi_trio.serve.outcomes",
        "Settings": "wasi_trio.testing.settings",
        "Source": "wasi_trio.testing.sources",
        "UnexpectedRequest": "wasi_trio.testing.outgoing",
        "component": "wasi_trio.testing.app",
        "run": "wasi_trio.testing.commands",
        "scratch_directory": "wasi_trio.testing.scratch",
        "server": "wasi_trio.testing.live",
    },
)
