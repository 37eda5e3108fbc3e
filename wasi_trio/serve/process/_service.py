"""What one process serves, and how: the same for the only one and for each of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._config_file import ConfigFile
from wasi_trio.serve._configuration import ProtocolOptions
from wasi_trio.serve._garbage import FullCollections, freeze_garbage_collection
from wasi_trio.serve._listening import Listener
from wasi_trio.serve._middleware import Chain
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve._settings import Settings
from wasi_trio.serve._signals import profiles_on_signal
from wasi_trio.serve._trimming import Trimming
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.process._readiness import Readiness
from wasi_trio.wasi._imports import state_imports

if TYPE_CHECKING:
    import socket

    from wasi_trio.serve.pool._handler import ProxyHandler
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._tracing import Tracer
    from wasi_trio.serve.telemetry._switch import Wanted

#: seconds for clients to be told, after the time for draining, that their requests will not be answered
_LAST_WORDS = 1.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What a server is to do; can be pickled, for the processes that are to do it."""

    settings: Settings
    file: ConfigFile | None = None

    def load(self, engine: Engine) -> Chain:
        """The components, compiled and linked; raises LoadError and SettingError."""
        return Chain(engine, self.settings["component"] or (None,), state_imports(self.settings.state))

    def protocol_options(self) -> ProtocolOptions:
        """Raises SettingError."""
        return ProtocolOptions(self.file, self.settings)


@dataclass(frozen=True, slots=True)
class Service:
    """One process's share of the serving: what to serve, how, and on what sockets."""

    orders: Orders
    chain: Chain
    protocols: ProtocolOptions
    listeners: Sequence[Listener]
    metrics: Metrics | None = None
    readiness: Readiness = field(default_factory=Readiness)
    #: what the numbers of its instances begin with, so that those of several processes differ
    prefix: str = ""
    tracer: Tracer | None = None

    @property
    def instruments(self) -> Sequence[trio.abc.Instrument]:
        """What the event loop is to be run with."""
        return () if self.metrics is None or self.metrics.tasks is None else (self.metrics.tasks,)

    async def run(self, stop: trio.Event, ready: Callable[[], object] | None = None) -> None:
        """Serve until ``stop`` is set, then for the setting ``drain-delay``, and what is under way then to its end.

        ``ready`` is called when requests are accepted. Cancelling this ends it at once.
        """
        drain = trio.Event()
        settings, protocols = self.orders.settings, self.protocols
        options = replace(
            settings.handler_options(self.metrics),
            drain_timeout=protocols.drain_timeout,
            instance_prefix=self.prefix,
            observed=protocols.access_log is not None or settings["log-format"] == "json",
            tracer=self.tracer,
        )
        own = own_addresses([listener.sock for listener in self.listeners])
        options = replace(options, wasi=replace(options.wasi, network=options.wasi.network.prepared(own)))
        async with (
            self.chain.open(options) as handlers,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._leave, stop, drain, handlers)
            if self.chain.engine.profiler is not None:
                nursery.start_soon(profiles_on_signal, self.write_profiles)
            self.readiness.handlers = handlers
            freeze_garbage_collection()
            budget = handlers[0].component.engine.budget
            nursery.start_soon(FullCollections(budget).run)
            nursery.start_soon(Trimming(budget).run)
            service = HandlerService(
                handlers[0],
                headers=settings.headers,
                response_headers=protocols.response_headers,
                adds_date=protocols.adds_date,
                server_names=protocols.server_names,
                root_path=protocols.root_path,
                observed=options.observed,
            )
            server = Server(
                service,
                limits=protocols.limits,
                max_connections=settings["max-concurrent-connections"],
                access_log=protocols.access_log,
                budget=budget,
                drain_timeout=None if protocols.drain_timeout is None else protocols.drain_timeout + _LAST_WORDS,
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

    async def write_profiles(self) -> None:
        """Write what is known of where guests compute, where they are profiled."""
        profiler = self.chain.engine.profiler
        if profiler is not None:
            await trio.to_thread.run_sync(profiler.flush)

    async def _leave(self, stop: trio.Event, drain: trio.Event, handlers: Sequence[ProxyHandler]) -> None:
        """Tell those who ask, and whoever sends a request, not to send more; begin to drain when they have had time."""
        await stop.wait()
        self.readiness.end()
        await trio.sleep(self.orders.settings["drain-delay"])
        drain.set()
        for handler in handlers:
            handler.begin_to_drain()


def own_addresses(sockets: Iterable[socket.socket]) -> set[tuple[str, int]]:
    """The IP addresses and ports that sockets listen on."""
    names = [sock.getsockname() for sock in sockets]
    # That of a Unix socket is a path.
    return {(name[0], name[1]) for name in names if isinstance(name, tuple)}


def new_metrics() -> Metrics:
    """With those of the process; here, because prometheus-client is slow to import and most servers go without."""
    from prometheus_client import ProcessCollector

    from wasi_trio.serve.pool._metrics import LivingTasks, Metrics

    metrics = Metrics()
    metrics.tasks = LivingTasks()
    ProcessCollector(registry=metrics.registry)
    return metrics


def exported(
    telemetry: Wanted, metrics: Metrics | None, worker: str | None = None
) -> AbstractContextManager[Tracer | None]:
    """Export what the environment asks for within the block; gives what is to be told of requests, if anybody is.

    Raises SettingError.
    """
    if not telemetry:
        return nullcontext()
    # Here, because nothing of OpenTelemetry is to be imported, nor need be installed, where nobody asks for it.
    from wasi_trio.serve.telemetry._telemetry import exporting

    return exporting(telemetry, metrics, worker)


@contextmanager
def administered(service: Service, admin_socket: socket.socket | None) -> Iterator[None]:
    """Serve the metrics of a service on a socket, if there is one, on a thread."""
    if admin_socket is None or service.metrics is None:
        yield
        return
    from wasi_trio.serve.process._admin import OwnSite, admin_server

    with admin_server(admin_socket, OwnSite(service.metrics, service.readiness)):
        yield


@contextmanager
def reported(service: Service, channel: socket.socket | None) -> Iterator[None]:
    """Report the metrics of a service to the supervisor on a socket, if there is one, on a thread."""
    if channel is None or service.metrics is None:
        yield
        return
    from wasi_trio.serve.process._admin import OwnSite
    from wasi_trio.serve.process._reports import reporting

    with reporting(channel, OwnSite(service.metrics, service.readiness)):
        yield
