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
    from wasi_trio.serve.pool.exchange import (
        DeadlinePassed,
        ExchangeFailed,
        GuestFailed,
        InstantiationFailed,
        Overloaded,
    )
    from wasi_trio.serve.pool.outcomes import Retirement
    from wasi_trio.testing.app import App, RequestParts, Response, component
    from wasi_trio.testing.commands import CommandResult, run
    from wasi_trio.testing.failures import ResponseCut
    from wasi_trio.testing.live import LiveServer, server
    from wasi_trio.testing.messages import Headers
    from wasi_trio.testing.network import Datagrams, Listener, MemoryStream, Network
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
    "Datagrams",
    "DeadlinePassed",
    "ExchangeFailed",
    "GuestFailed",
    "GuestSettings",
    "Headers",
    "HttpError",
    "InstanceRecord",
    "InstantiationFailed",
    "Listener",
    "LiveServer",
    "LoadError",
    "MemoryStream",
    "Network",
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
        "Datagrams": "wasi_trio.testing.network",
        "DeadlinePassed": "wasi_trio.serve.pool.exchange",
        "ExchangeFailed": "wasi_trio.serve.pool.exchange",
        "GuestFailed": "wasi_trio.serve.pool.exchange",
        "GuestSettings": "wasi_trio.testing.settings",
        "Headers": "wasi_trio.testing.messages",
        "HttpError": "wasi_trio.wasi.http.errors",
        "InstanceRecord": "wasi_trio.testing.pool",
        "InstantiationFailed": "wasi_trio.serve.pool.exchange",
        "Listener": "wasi_trio.testing.network",
        "LiveServer": "wasi_trio.testing.live",
        "LoadError": "wasi_trio.wasi.loading",
        "MemoryStream": "wasi_trio.testing.network",
        "Network": "wasi_trio.testing.network",
        "Opener": "wasi_trio.testing.opener",
        "OutgoingHandler": "wasi_trio.testing.outgoing",
        "OutgoingRequest": "wasi_trio.testing.outgoing",
        "Overloaded": "wasi_trio.serve.pool.exchange",
        "RequestParts": "wasi_trio.testing.app",
        "Response": "wasi_trio.testing.app",
        "ResponseCut": "wasi_trio.testing.failures",
        "Retirement": "wasi_trio.serve.pool.outcomes",
        "Settings": "wasi_trio.testing.settings",
        "Source": "wasi_trio.testing.sources",
        "UnexpectedRequest": "wasi_trio.testing.outgoing",
        "component": "wasi_trio.testing.app",
        "run": "wasi_trio.testing.commands",
        "scratch_directory": "wasi_trio.testing.scratch",
        "server": "wasi_trio.testing.live",
    },
)
