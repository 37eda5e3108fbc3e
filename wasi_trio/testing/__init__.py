"""A harness for tests of components, inside trio and without a socket.

::

    async with component("app.wasm") as app:
        response = await app.get("/x")
        assert response.status == 200
        assert await response.text() == "hello"

``server`` serves the component by a real server, ``run`` runs commands, and ``exports`` calls all other exports. pytest
finds the fixtures ``wasi_component`` and ``wasi_server`` without configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.serve.pool._failures import (
        CpuTimeExceeded,
        DeadlinePassed,
        ExchangeFailed,
        GuestFailed,
        InstantiationFailed,
        Overloaded,
    )
    from wasi_trio.serve.pool._outcomes import Retirement
    from wasi_trio.testing._app import App, RequestParts, Response, component
    from wasi_trio.testing._builds import components
    from wasi_trio.testing._cassette import Cassette, UnrecordedRequest, cassette
    from wasi_trio.testing._commands import CommandResult, run
    from wasi_trio.testing._exports import Exports, exports
    from wasi_trio.testing._failures import ResponseCut
    from wasi_trio.testing._interactions import CassetteError
    from wasi_trio.testing._live import LiveServer, server
    from wasi_trio.testing._messages import Headers
    from wasi_trio.testing._network import Datagrams, Listener, MemoryStream, Network
    from wasi_trio.testing._opener import Opener
    from wasi_trio.testing._outgoing import Answer, OutgoingHandler, OutgoingRequest, UnexpectedRequest
    from wasi_trio.testing._pool import InstanceRecord
    from wasi_trio.testing._routes import routes
    from wasi_trio.testing._scratch import scratch_directory
    from wasi_trio.testing._settings import GuestSettings, Settings
    from wasi_trio.testing._sources import Source
    from wasi_trio.wasi._loading import LoadError
    from wasi_trio.wasi.http._errors import HttpError
    from wasi_trio.wasi.keyvalue._memory import MemoryStore

__all__ = [
    "Answer",
    "App",
    "Cassette",
    "CassetteError",
    "CommandResult",
    "CpuTimeExceeded",
    "Datagrams",
    "DeadlinePassed",
    "ExchangeFailed",
    "Exports",
    "GuestFailed",
    "GuestSettings",
    "Headers",
    "HttpError",
    "InstanceRecord",
    "InstantiationFailed",
    "Listener",
    "LiveServer",
    "LoadError",
    "MemoryStore",
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
    "UnrecordedRequest",
    "cassette",
    "component",
    "components",
    "exports",
    "routes",
    "run",
    "scratch_directory",
    "server",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Answer": "wasi_trio.testing._outgoing",
            "App": "wasi_trio.testing._app",
            "Cassette": "wasi_trio.testing._cassette",
            "CassetteError": "wasi_trio.testing._interactions",
            "CommandResult": "wasi_trio.testing._commands",
            "Datagrams": "wasi_trio.testing._network",
            "CpuTimeExceeded": "wasi_trio.serve.pool._failures",
            "DeadlinePassed": "wasi_trio.serve.pool._failures",
            "ExchangeFailed": "wasi_trio.serve.pool._failures",
            "Exports": "wasi_trio.testing._exports",
            "GuestFailed": "wasi_trio.serve.pool._failures",
            "GuestSettings": "wasi_trio.testing._settings",
            "Headers": "wasi_trio.testing._messages",
            "HttpError": "wasi_trio.wasi.http._errors",
            "InstanceRecord": "wasi_trio.testing._pool",
            "InstantiationFailed": "wasi_trio.serve.pool._failures",
            "Listener": "wasi_trio.testing._network",
            "LiveServer": "wasi_trio.testing._live",
            "LoadError": "wasi_trio.wasi._loading",
            "MemoryStore": "wasi_trio.wasi.keyvalue._memory",
            "MemoryStream": "wasi_trio.testing._network",
            "Network": "wasi_trio.testing._network",
            "Opener": "wasi_trio.testing._opener",
            "OutgoingHandler": "wasi_trio.testing._outgoing",
            "OutgoingRequest": "wasi_trio.testing._outgoing",
            "Overloaded": "wasi_trio.serve.pool._failures",
            "RequestParts": "wasi_trio.testing._app",
            "Response": "wasi_trio.testing._app",
            "ResponseCut": "wasi_trio.testing._failures",
            "Retirement": "wasi_trio.serve.pool._outcomes",
            "Settings": "wasi_trio.testing._settings",
            "Source": "wasi_trio.testing._sources",
            "UnexpectedRequest": "wasi_trio.testing._outgoing",
            "UnrecordedRequest": "wasi_trio.testing._cassette",
            "cassette": "wasi_trio.testing._cassette",
            "component": "wasi_trio.testing._app",
            "components": "wasi_trio.testing._builds",
            "exports": "wasi_trio.testing._exports",
            "routes": "wasi_trio.testing._routes",
            "run": "wasi_trio.testing._commands",
            "scratch_directory": "wasi_trio.testing._scratch",
            "server": "wasi_trio.testing._live",
        },
    )
