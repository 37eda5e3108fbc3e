"""ASGI applications for other servers, which must run on trio, as hypercorn's trio worker does.

``wasi_trio.asgi:app`` serves the component named by the environment variable ``WASI_TRIO_COMPONENT`` or by the table
``[wasi_trio]`` of hypercorn's configuration file. :class:`App` is for programs, and for mounting in other applications.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Self, TypeAlias

import trio

from wasi_trio._texts import MAX_LENGTH, get_logger, shown
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._garbage import freeze_garbage_collection
from wasi_trio.serve._loading import LoadError
from wasi_trio.serve._logs import text_formatter
from wasi_trio.serve._middleware import Chain
from wasi_trio.serve._responder import OwnAnswers
from wasi_trio.serve.asgi._application import Application, Receive, Scope, Send, pass_lifespan
from wasi_trio.serve.asgi._environment import config_path, is_hypercorn, settings_under_asgi
from wasi_trio.serve.asgi._hypercorn_worker import finishing
from wasi_trio.serve.pool._admission import SharedLimit
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.routing._pools import Common, Pools
from wasi_trio.serve.routing._versions import LoadedRoute, Loader, log_pins, read_versions
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.telemetry._switch import Wanted, wanted
from wasi_trio.wasi._imports import state_imports
from wasi_trio.wasi._loading import EngineOptions, check_address_space
from wasi_trio.wasi._state import opened
from wasi_trio.wasi.registry._references import is_reference

StrPath: TypeAlias = str | os.PathLike[str]

logger = get_logger("wasi_trio.serve")

WRONG_WORKER = 'wasi_trio runs on trio: set worker_class = "trio" (hypercorn --worker-class trio)'
NO_COMPONENT = (
    "no component is named: set the environment variable WASI_TRIO_COMPONENT, or the key component in the table "
    "[wasi_trio] of hypercorn's configuration file"
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The configuration of an application. ``routes`` are the settings of a server with routes."""

    components: list[str]
    options: HandlerOptions
    headers: Sequence[tuple[bytes, bytes]]
    engine: EngineOptions
    routes: Settings | None


class App:
    """An ASGI application that answers requests with a component. It must run on trio.

    The server's start (the lifespan protocol's ``startup``) compiles and links the component. Its shutdown waits for
    the active requests. An application that mounts this one may not pass lifespan events on. It must then run this one
    within :meth:`running`. The guest sees the path below the mount point.

    With several components, each answers the ``wasi:http/handler`` requests of the one before. ``imports`` supplement
    WASI for all of them. ``headers`` replace the fields of the same name in every request; their names are in lower
    case. ``features`` are those of ``Engine``, by default the features of WASI 0.3.1. ``compile_limits`` apply to the
    compilation of a component that is not in the cache.

    If the component or the options are None, they come from the environment and from hypercorn's configuration file, as
    docs/hypercorn.md explains. So do ``headers``, ``features`` and ``compile_limits`` if the options are None.
    """

    def __init__(
        self,
        component: StrPath | Sequence[StrPath] | None = None,
        options: HandlerOptions | None = None,
        *,
        imports: Imports | None = None,
        headers: Sequence[tuple[bytes, bytes]] | None = None,
        features: Collection[str] | None = None,
        compile_limits: CompileLimits | None = None,
    ) -> None:
        self._component = component
        self._options = options
        self._imports = imports
        self._headers = headers
        self._features = features
        self._compile_limits = compile_limits
        self._application: Application | None = None
        if is_hypercorn(sys.argv):
            _watch_for_reload(component)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._application is not None:
            await self._application(scope, receive, send)
        elif not trio.lowlevel.in_trio_run():
            raise RuntimeError(WRONG_WORKER)
        else:
            raise RuntimeError(
                "the application was not started: its server must support the lifespan protocol, and an application "
                "that "
                "mounts it must pass lifespan events on, or requests must arrive within `async with app.running():`"
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve requests within this block, for use without a server that starts the application.

        Lifespan events have no effect then. Leaving the block waits for the active requests. Cancelling the surrounding
        block ends them at once. Raise LoadError for an invalid component, SettingError for an invalid setting, and
        RuntimeError if the application is already running, or not under trio.
        """
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(WRONG_WORKER)
        if self._application is not None:
            raise RuntimeError("the application is already running")
        plan = self._plan()
        telemetry = wanted(os.environ)
        check_address_space()
        with plan.engine.open() as engine:
            async with _exported(telemetry, plan.options) as options:
                plan = replace(plan, options=options)
                answering = self._routed(engine, plan) if plan.routes is not None else self._alone(engine, plan)
                async with answering as application:
                    self._application = application
                    try:
                        yield self
                    finally:
                        self._application = None

    @asynccontextmanager
    async def _alone(self, engine: Engine, plan: _Plan) -> AsyncIterator[Application]:
        """Run components that answer all requests."""
        imports = state_imports(plan.options.wasi.state)
        if self._imports is not None:
            imports.update(self._imports)
        async with Chain(engine, plan.components, imports).open(plan.options) as handlers:
            yield Application(handlers[0], headers=plan.headers)

    @asynccontextmanager
    async def _routed(self, engine: Engine, plan: _Plan) -> AsyncIterator[Application]:
        """Run the routes in the settings."""
        settings = plan.routes
        assert settings is not None
        loader = Loader(engine)
        versions = read_versions(settings)
        log_pins(versions)
        loaded = [loader.load(version, settings, self._imports) for version in versions]
        shared_limit = SharedLimit(settings["max-concurrent-requests"])

        def adapt(route: LoadedRoute) -> HandlerOptions:
            wasi = replace(route.options.wasi, state=state)
            given = plan.options
            return replace(
                route.options, shared_limit=shared_limit, wasi=wasi, metrics=given.metrics, tracer=given.tracer
            )

        async with opened(settings.state, engine.budget) as state, trio.open_nursery() as nursery:
            pools = Pools(nursery, Common(adapt, OwnAnswers(adds_date=False)))
            pools.routed = True
            await pools.adopt(loaded)
            yield Application.of(pools)
            pools.end()

    async def _live(self, receive: Receive, send: Send) -> None:
        if self._application is not None:
            await pass_lifespan(receive, send)
            return
        await receive()
        if not trio.lowlevel.in_trio_run():
            await self._fail(WRONG_WORKER, send)
            return
        started = False
        try:
            # Stopping also waits for the guests' work after their responses.
            with finishing():
                async with self.running():
                    started = True
                    self._on_started()
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
        except (LoadError, SettingError) as error:
            if started:
                raise
            await self._fail(str(error), send)
            return
        await send({"type": "lifespan.shutdown.complete"})

    def _on_started(self) -> None:
        """Called when everything is loaded that lasts as long as the application."""

    async def _fail(self, message: str, send: Send) -> None:
        logger.error("%s", message)
        await send({"type": "lifespan.startup.failed", "message": message})

    def _plan(self) -> _Plan:
        """Determine the components and options from the arguments, the environment and the configuration file."""
        engine = EngineOptions()
        component, options, headers = self._component, self._options, self._headers
        routes: Settings | None = None
        if component is None or options is None:
            settings = settings_under_asgi(os.environ, sys.argv)
            if component is None:
                component = settings["component"]
                if settings.has_routes:
                    if options is not None:
                        raise SettingError("routes take their options from the settings: give no options to App")
                    routes = settings
            if options is None:
                options = settings.handler_options()
                headers = settings.headers if headers is None else headers
                engine = settings.engine_options()
                if settings["verbose"]:
                    logging.getLogger("wasi_trio").setLevel(logging.INFO)
        if not component and routes is None:
            raise LoadError(NO_COMPONENT)
        if self._features is not None:
            engine = replace(engine, features=frozenset(self._features))
        if self._compile_limits is not None:
            engine = replace(engine, compile_limits=self._compile_limits)
        return _Plan(_paths(component), options, headers or (), engine, routes)


@asynccontextmanager
async def _exported(telemetry: Wanted, options: HandlerOptions) -> AsyncIterator[HandlerOptions]:
    """Export the telemetry that the environment requests during the block. Yield the options, with a tracer if needed.

    Raise SettingError.
    """
    if not telemetry or options.tracer is not None:
        yield options
        return
    from wasi_trio.serve.telemetry._telemetry import begin

    if telemetry.metrics and options.metrics is None:
        from wasi_trio.serve.pool._metrics import Metrics

        options = replace(options, metrics=Metrics())
    exports = begin(telemetry, options.metrics)
    try:
        yield replace(options, tracer=exports.tracer)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(exports.close)


def _paths(component: StrPath | Sequence[StrPath]) -> list[str]:
    return [os.fspath(path) for path in ([component] if isinstance(component, str | os.PathLike) else component)]


def _watch_for_reload(component: StrPath | Sequence[StrPath] | None) -> None:
    """Make hypercorn --reload watch components and the configuration: it watches the files of modules."""
    try:
        if component is None:
            routes = settings_under_asgi(os.environ, sys.argv).routes
            files = [path for route in routes for path in route.watched]
        else:
            files = [path for path in _paths(component) if not is_reference(path)]
    except SettingError:
        return  # the worker reports the error
    config = config_path(os.environ, sys.argv)
    for file in files if config is None else [*files, config]:
        module = ModuleType(f"wasi_trio watches {file}")
        module.__file__ = file
        sys.modules[module.__name__] = module


class _Main(App):
    """The application ``app``, which is the only application of its server."""

    def _on_started(self) -> None:
        if is_hypercorn(sys.argv):
            freeze_garbage_collection()

    def _plan(self) -> _Plan:
        ours = logging.getLogger("wasi_trio")
        if not ours.hasHandlers():
            # Without a handler, Python's last resort omits the time and all lines below WARNING.
            handler = logging.StreamHandler()
            handler.setFormatter(text_formatter())
            ours.addHandler(handler)
        return super()._plan()

    async def _fail(self, message: str, send: Send) -> None:
        if not is_hypercorn(sys.argv):
            await super()._fail(message, send)
            return
        # hypercorn would print its own traceback of some fifty lines, and exit as well. Nothing is open yet.
        print(f"wasi_trio: error: {shown(' '.join(message.split()), 8 * MAX_LENGTH)}", file=sys.stderr, flush=True)
        os._exit(2)


app = _Main()
