"""Runs the routes of a configuration file without a socket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from wasi_trio.serve._config_file import gather, read_config_file
from wasi_trio.serve.pool._admission import SharedLimit
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._states import Event
from wasi_trio.serve.pool._tracing import RequestStream
from wasi_trio.serve.routing._pools import Common, NoRoute, Pools
from wasi_trio.serve.routing._versions import LoadedRoute, Loader, read_versions
from wasi_trio.testing import _cache as cache
from wasi_trio.testing._app import App
from wasi_trio.testing._settings import GuestSettings, features_of, imports_of
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._state import opened
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request, Response

if TYPE_CHECKING:
    from typing import Unpack


class _Routed:
    """Passes requests to their routes, and answers requests without a route as the server does."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def submit(self, request: Request, stream: RequestStream | None = None) -> Exchange:
        try:
            return self._pools.submit(request, stream)
        except NoRoute as refused:
            exchange = Exchange(request)
            exchange.advance(Event.PLACE)
            exchange.advance(Event.BEGIN)
            content = f"{HTTPStatus(refused.status).phrase}\n".encode()
            headers = [("content-type", b"text/plain; charset=utf-8"), ("content-length", b"%d" % len(content))]
            exchange.respond(Response(refused.status, headers, Body.of(content)))
            return exchange


@asynccontextmanager
async def routes(file: str | os.PathLike[str], /, **settings: Unpack[GuestSettings]) -> AsyncIterator[App]:
    """Run the routes of a TOML file for ``serve --hypercorn-config`` without a socket.

    Requests to ``app`` are for the host of their URL, or for ``localhost`` if the URL is a path. ``settings`` apply to
    the guests of all routes, and override the file. Raises LoadError and SettingError.
    """
    __tracebackhide__ = True
    told = gather({}, {}, read_config_file(os.fspath(file)))
    engine = cache.engine(features_of(settings))
    loader = Loader(engine)
    loaded = [
        loader.load(version, told, imports_of(settings, WasiOptions(state=told.state)))
        for version in read_versions(told)
    ]
    #: The state of all guests, which is opened below.
    state = told.state
    app = App([route.version.declaration.name for route in loaded])
    shared_limit = SharedLimit(told["max-concurrent-requests"])

    def adapt(route: LoadedRoute) -> HandlerOptions:
        options = app._options(settings, route.options)
        wasi = replace(options.wasi, state=state)
        return replace(options, wasi=wasi, shared_limit=shared_limit, logging_prefix=False)

    @asynccontextmanager
    async def running() -> AsyncIterator[Pools]:
        nonlocal state
        told_state = app._options(settings, loaded[0].options).wasi.state
        async with opened(told_state, engine.budget) as state, trio.open_nursery() as nursery:
            pools = Pools(nursery, Common(adapt))
            pools.routed = True
            await pools.adopt(loaded)
            yield pools
            pools.end()

    async with app._run(running(), engine) as pools:
        app._handler = _Routed(pools)
        yield app
