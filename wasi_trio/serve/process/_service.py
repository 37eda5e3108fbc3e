"""The service of one process: the only process of a server, or one of its workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from wasi_trio.serve._configuration import ProtocolOptions
from wasi_trio.serve._garbage import FullCollections, freeze_garbage_collection
from wasi_trio.serve._listening import Listener
from wasi_trio.serve._responder import OwnAnswers
from wasi_trio.serve._signals import profiles_on_signal
from wasi_trio.serve._trimming import Trimming
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.pool._admission import SharedLimit
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.process._readiness import Readiness
from wasi_trio.serve.process._reloading import Reloading
from wasi_trio.serve.process._server_config import ServerConfig
from wasi_trio.serve.routing._pools import Common, Pools
from wasi_trio.serve.routing._versions import LoadedRoute, Loader, RouteVersion
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.wasi._state import State, opened

if TYPE_CHECKING:
    import socket

    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._tracing import Tracer
    from wasi_trio.serve.telemetry._switch import Wanted

#: The time after ``drain_timeout`` for telling clients that their requests fail, in seconds.
_REPLY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """The routes, options and sockets of one serving process.

    ``versions`` are the initial routes, and ``loaded`` the same routes as loaded by ``loader``. During ``run`` the
    service may adopt other routes.
    """

    config: ServerConfig
    versions: Sequence[RouteVersion]
    loader: Loader
    loaded: Sequence[LoadedRoute]
    protocols: ProtocolOptions
    listeners: Sequence[Listener]
    metrics: Metrics | None = None
    readiness: Readiness = field(default_factory=Readiness)
    #: The prefix of instance numbers, which distinguishes the instances of several processes.
    prefix: str = ""
    tracer: Tracer | None = None
    #: The reloading of changed files, if this process does it by itself.
    reloading: Reloading | None = None
    shared_limit: SharedLimit = field(default_factory=SharedLimit)
    _pools: list[Pools] = field(default_factory=list)
    _adopting: trio.Lock = field(default_factory=trio.Lock)

    @property
    def instruments(self) -> Sequence[trio.abc.Instrument]:
        """The instruments for the event loop."""
        return () if self.metrics is None or self.metrics.tasks is None else (self.metrics.tasks,)

    @property
    def _is_observed(self) -> bool:
        return self.protocols.access_log is not None or self.config.settings["log-format"] == "json"

    async def run(self, stop: trio.Event, ready: Callable[[], object] | None = None) -> None:
        """Serve until ``stop`` is set, then during ``drain-delay``, and finish the active requests.

        ``ready`` is called when requests are accepted. Cancellation ends the service at once.
        """
        drain = trio.Event()
        settings, protocols = self.config.settings, self.protocols
        budget, profiler = self.loader.engine.budget, self.loader.engine.profiler
        if self.metrics is not None:
            self.metrics.budget = budget
        # All routes and all their versions share one state.
        async with opened(settings.state, budget) as state, trio.open_nursery() as running:
            pools = Pools(running, self._common(state))
            self._pools.append(pools)
            self.shared_limit.maximum = _limit(settings)
            if settings.has_routes:
                self._note_routes(pools)
            await pools.adopt(self.loaded)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._leave, stop, drain, pools)
                if profiler is not None:
                    nursery.start_soon(profiles_on_signal, self.write_profiles)
                self.readiness.handlers = pools
                freeze_garbage_collection()
                nursery.start_soon(FullCollections(budget).run)
                nursery.start_soon(Trimming(budget).run)
                if self.reloading is not None:
                    nursery.start_soon(self.reloading.run, self.config, self.versions, self.adopt, self._count)
                server = Server(
                    pools,
                    limits=protocols.limits,
                    max_connections=settings["max-concurrent-connections"],
                    access_log=protocols.access_log,
                    budget=budget,
                    fields=self._answers.fields,
                    drain_timeout=None if protocols.drain_timeout is None else protocols.drain_timeout + _REPLY_SECONDS,
                )
                if ready is not None:
                    ready()
                await server.run(
                    [listener.sock for listener in self.listeners if not listener.secure],
                    drain,
                    leave=stop,
                    secure=[listener.sock for listener in self.listeners if listener.secure],
                    tls=protocols.tls,
                )
                nursery.cancel_scope.cancel()
            pools.end()

    @property
    def _answers(self) -> OwnAnswers:
        return OwnAnswers(tuple(self.protocols.response_headers), self.protocols.adds_date)

    def _common(self, state: State) -> Common:
        """Return the options shared by all routes of this process."""
        protocols = self.protocols
        own = own_addresses([listener.sock for listener in self.listeners])
        # One sink for all routes keeps the printed lines in order.
        first = self.loaded[0].options.wasi

        def adapt(loaded: LoadedRoute) -> HandlerOptions:
            options = loaded.options
            wasi = replace(
                options.wasi,
                network=options.wasi.network.prepared(own),
                state=state,
                stdout=first.stdout,
                stderr=first.stderr,
            )
            has_own = "drain-timeout" in loaded.version.declaration.settings
            return replace(
                options,
                wasi=wasi,
                drain_timeout=options.drain_timeout if has_own else protocols.drain_timeout,
                instance_prefix=self.prefix,
                observed=self._is_observed,
                metrics=self.metrics,
                tracer=self.tracer,
                shared_limit=self.shared_limit,
            )

        return Common(
            adapt,
            self._answers,
            protocols.server_names,
            protocols.root_path,
            self._is_observed,
            self.metrics,
        )

    async def adopt(self, config: ServerConfig, versions: Sequence[RouteVersion]) -> None:
        """Direct new requests to these routes, and let the other routes drain.

        Raise LoadError or SettingError with nothing changed.
        """
        async with self._adopting:
            await self._adopt(config, versions)

    async def _adopt(self, config: ServerConfig, versions: Sequence[RouteVersion]) -> None:
        (pools,) = self._pools
        kept = [pool for pool in pools.current if pool.version in versions]
        known = {pool.name for pool in kept}
        loaded = [
            await trio.to_thread.run_sync(self.loader.load, version, config.settings)
            for version in versions
            if version.declaration.name not in known
        ]
        self.shared_limit.maximum = _limit(config.settings)
        if config.settings.has_routes:
            self._note_routes(pools)
        await pools.adopt(loaded, kept)

    def _note_routes(self, pools: Pools) -> None:
        pools.routed = True
        if self.metrics is not None:
            self.metrics.routed = True

    def _count(self, successful: bool) -> None:
        if self.metrics is not None and self.metrics.reloads is not None:
            self.metrics.reloads["ok" if successful else "failed"] += 1

    async def write_profiles(self) -> None:
        """Write the profiles of guests, if they are profiled."""
        profiler = self.loader.engine.profiler
        if profiler is not None:
            await trio.to_thread.run_sync(profiler.flush)

    async def _leave(self, stop: trio.Event, drain: trio.Event, pools: Pools) -> None:
        """On ``stop``, announce the end on the admin address and to clients. Begin to drain after ``drain-delay``."""
        await stop.wait()
        self.readiness.end()
        await trio.sleep(self.config.settings["drain-delay"])
        drain.set()
        pools.begin_to_drain()


def _limit(settings: Settings) -> float:
    limit = settings["max-concurrent-requests"]
    return math.inf if limit is None else limit


def own_addresses(sockets: Iterable[socket.socket]) -> set[tuple[str, int]]:
    """Return the IP addresses and ports of listening sockets."""
    names = [sock.getsockname() for sock in sockets]
    # The name of a Unix socket is a path.
    return {(name[0], name[1]) for name in names if isinstance(name, tuple)}


def new_metrics() -> Metrics:
    """Create metrics that include those of the process. The import of prometheus-client is slow, so it is here."""
    from prometheus_client import ProcessCollector

    from wasi_trio.serve.pool._metrics import Metrics, TaskCount

    metrics = Metrics()
    metrics.tasks = TaskCount()
    metrics.reloads = {"ok": 0, "failed": 0}
    ProcessCollector(registry=metrics.registry)
    return metrics


def exported(
    telemetry: Wanted, metrics: Metrics | None, worker: str | None = None
) -> AbstractContextManager[Tracer | None]:
    """Export the telemetry that the environment requests during the block. Yield the tracer of requests, if any.

    Raise SettingError.
    """
    if not telemetry:
        return nullcontext()
    # Imported here because OpenTelemetry is optional and slow to import.
    from wasi_trio.serve.telemetry._telemetry import exporting

    return exporting(telemetry, metrics, worker)


@contextmanager
def administered(service: Service, admin_socket: socket.socket | None) -> Iterator[None]:
    """Serve the admin address of a service on a socket, if given, on a thread."""
    if admin_socket is None or service.metrics is None:
        yield
        return
    from wasi_trio.serve.process._admin import OwnSite, admin_server

    with admin_server(admin_socket, OwnSite(service.metrics, service.readiness)):
        yield


@contextmanager
def reported(service: Service, channel: socket.socket | None) -> Iterator[None]:
    """Send reports of a service to the supervisor on a socket, if given, on a thread."""
    if channel is None or service.metrics is None:
        yield
        return
    from wasi_trio.serve.process._admin import OwnSite
    from wasi_trio.serve.process._reports import reporting

    with reporting(channel, OwnSite(service.metrics, service.readiness)):
        yield
