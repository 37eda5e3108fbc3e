"""ASGI applications for a server of one's own choice; it has to run on trio, as hypercorn's trio worker does.

``wasi_trio.asgi:app`` serves the component that the environment variable ``WASI_TRIO_COMPONENT`` or the table
``[wasi_trio]`` of hypercorn's configuration file names. :class:`App` is for a program, or to be mounted in another
application.
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

from wasi_trio._texts import MOST, get_logger, shown
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._garbage import freeze_garbage_collection
from wasi_trio.serve._loading import LoadError
from wasi_trio.serve._logs import text_formatter
from wasi_trio.serve._middleware import Chain
from wasi_trio.serve._responder import OwnAnswers
from wasi_trio.serve.asgi._application import Application, Receive, Scope, Send, pass_lifespan
from wasi_trio.serve.asgi._environment import config_path, is_hypercorn, settings_elsewhere
from wasi_trio.serve.asgi._hypercorn_worker import finishing
from wasi_trio.serve.pool._admission import Places
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
    "no component is named: set the environment variable WASI_TRIO_COMPONENT, or component in the table [wasi_trio] "
    "of hypercorn's configuration file"
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an application is to do; ``routes`` are the settings that have some, where components are not all."""

    components: list[str]
    options: HandlerOptions
    headers: Sequence[tuple[bytes, bytes]]
    engine: EngineOptions
    routes: Settings | None


class App:
    """An ASGI application that has a component answer requests. To be run on trio.

    The component is compiled and linked when the server starts (the lifespan protocol's ``startup``), and the
    requests under way are finished when it stops. An application that this is mounted in may keep the lifespan to
    itself: then it has to be within :meth:`running`. A guest sees the path below where this is mounted.

    Of several components each answers what the one before it asks of ``wasi:http/handler``. ``imports`` are provided
    to them beside WASI. ``headers`` replace those of the same name in every request; their names are in lower case.
    ``features`` are those of ``Engine``, here by default what WASI 0.3.1 has; ``compile_limits`` is what it may take to
    compile a component that was not compiled before.

    A component or options that are None come from the environment and hypercorn's configuration file, as
    docs/hypercorn.md tells, headers, features and limits with the options.
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
            _let_reload(component)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._application is not None:
            await self._application(scope, receive, send)
        elif not trio.lowlevel.in_trio_run():
            raise RuntimeError(WRONG_WORKER)
        else:
            raise RuntimeError(
                "the application was not started: either its server has to support lifespans, and an application that "
                "it is mounted in to pass them on, or requests have to come within `async with app.running():`"
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve requests within this block, wherever no server starts the application; lifespans have no effect then.

        Leaving it waits for the requests under way; cancel the block around it to end them at once. Raises LoadError
        for a component and SettingError for a setting that is not as it should be, RuntimeError if it runs already.
        """
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(WRONG_WORKER)
        if self._application is not None:
            raise RuntimeError("the application runs already")
        plan = self._understand()
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
        """Components that answer all requests."""
        imports = state_imports(plan.options.wasi.state)
        if self._imports is not None:
            imports.update(self._imports)
        async with Chain(engine, plan.components, imports).open(plan.options) as handlers:
            yield Application(handlers[0], headers=plan.headers)

    @asynccontextmanager
    async def _routed(self, engine: Engine, plan: _Plan) -> AsyncIterator[Application]:
        """Routes, as the settings have them."""
        settings = plan.routes
        assert settings is not None
        loader = Loader(engine)
        versions = read_versions(settings)
        log_pins(versions)
        loaded = [loader.load(version, settings, self._imports) for version in versions]
        places = Places(settings["max-concurrent-requests"])

        def adapt(route: LoadedRoute) -> HandlerOptions:
            wasi = replace(route.options.wasi, state=state)
            given = plan.options
            return replace(route.options, places=places, wasi=wasi, metrics=given.metrics, tracer=given.tracer)

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
            # What guests do after their responses is waited for when it stops running.
            with finishing():
                async with self.running():
                    started = True
                    self._settle()
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
        except (LoadError, SettingError) as error:
            if started:
                raise
            await self._fail(str(error), send)
            return
        await send({"type": "lifespan.shutdown.complete"})

    def _settle(self) -> None:
        """Everything is loaded that lives as long as the application does."""

    async def _fail(self, message: str, send: Send) -> None:
        logger.error("%s", message)
        await send({"type": "lifespan.startup.failed", "message": message})

    def _understand(self) -> _Plan:
        """The components and options, out of what was given and what else says so."""
        engine = EngineOptions()
        component, options, headers = self._component, self._options, self._headers
        routes: Settings | None = None
        if component is None or options is None:
            settings = settings_elsewhere(os.environ, sys.argv)
            if component is None:
                component = settings["component"]
                if settings.has_routes:
                    if options is not None:
                        raise SettingError("routes have their options from where they are set: give none to App")
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
    """Export what the environment asks for within the block; yields the options, with a tracer if any.

    Raises SettingError.
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


def _let_reload(component: StrPath | Sequence[StrPath] | None) -> None:
    """Have hypercorn --reload see when a component or the configuration changes: it watches the files of modules."""
    try:
        if component is None:
            routes = settings_elsewhere(os.environ, sys.argv).routes
            files = [path for route in routes for path in route.watched]
        else:
            files = [path for path in _paths(component) if not is_reference(path)]
    except SettingError:
        return  # the worker tells what is wrong
    config = config_path(os.environ, sys.argv)
    for file in files if config is None else [*files, config]:
        module = ModuleType(f"wasi_trio watches {file}")
        module.__file__ = file
        sys.modules[module.__name__] = module


class _Main(App):
    """The application that is all of its server."""

    def _settle(self) -> None:
        if is_hypercorn(sys.argv):
            freeze_garbage_collection()

    def _understand(self) -> _Plan:
        ours = logging.getLogger("wasi_trio")
        if not ours.hasHandlers():
            # Where nobody has set up anything lines would come without a time, and those below warnings not at all.
            handler = logging.StreamHandler()
            handler.setFormatter(text_formatter())
            ours.addHandler(handler)
        return super()._understand()

    async def _fail(self, message: str, send: Send) -> None:
        if not is_hypercorn(sys.argv):
            await super()._fail(message, send)
            return
        # By itself hypercorn would print its own stack below this, some fifty lines, and end as well. Nothing is open
        # yet that had to be closed.
        print(f"wasi_trio: error: {shown(' '.join(message.split()), 8 * MOST)}", file=sys.stderr, flush=True)
        os._exit(2)


app = _Main()
