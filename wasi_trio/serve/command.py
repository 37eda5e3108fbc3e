"""What ``wasi_trio serve`` does once its command line is understood."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import trio

from wasi_trio.runtime.engine import Engine
from wasi_trio.serve.config_file import VARIABLE, ConfigFile, gather, read_config_file
from wasi_trio.serve.configuration import ProtocolOptions
from wasi_trio.serve.http.server import Server
from wasi_trio.serve.listening import Listener, ListenError, address_of, listening, open_listener
from wasi_trio.serve.loading import LoadError, open_engine
from wasi_trio.serve.middleware import Chain
from wasi_trio.serve.process.readiness import Readiness
from wasi_trio.serve.responder import HandlerService
from wasi_trio.serve.settings import SettingError, Settings
from wasi_trio.serve.signals import shutdown_on_connection, shutdown_on_signals

if TYPE_CHECKING:
    import socket

    from wasi_trio.serve.metrics import Metrics
    from wasi_trio.serve.pool.handler import ProxyHandler


#: seconds for clients to be told, after the time for draining, that their requests will not be answered
_LAST_WORDS = 1.0


class CommandError(Exception):
    """The server can not be started; the message is one line."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a server is to do; can be pickled, for the processes that are to do it."""

    settings: Settings
    file: ConfigFile | None = None

    def load(self, engine: Engine) -> Chain:
        """The components, compiled and linked; raises LoadError."""
        return Chain(engine, self.settings["component"] or (None,))

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

    @property
    def instruments(self) -> Sequence[trio.abc.Instrument]:
        """What the event loop is to be run with."""
        return () if self.metrics is None or self.metrics.tasks is None else (self.metrics.tasks,)

    async def run(self, stop: trio.Event) -> None:
        """Serve until ``stop`` is set, and what is under way then to its end. Cancelling this ends it at once."""
        settings, protocols = self.orders.settings, self.protocols
        options = replace(settings.handler_options(self.metrics), drain_timeout=protocols.drain_timeout)
        own = own_addresses([listener.sock for listener in self.listeners])
        options = replace(options, wasi=replace(options.wasi, network=options.wasi.network.prepared(own)))
        async with (
            self.chain.open(options) as handlers,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._begin_to_drain, stop, handlers)
            self.readiness.handlers = handlers
            # What is loaded by now lives as long as the process. Looking through it again and again would stop the
            # event loop for tens of milliseconds each time.
            gc.collect()
            gc.freeze()
            service = HandlerService(
                handlers[0],
                headers=settings.headers,
                response_headers=protocols.response_headers,
                adds_date=protocols.adds_date,
                server_names=protocols.server_names,
                root_path=protocols.root_path,
            )
            server = Server(
                service,
                limits=protocols.limits,
                max_connections=settings["max-concurrent-connections"],
                access_log=protocols.access_log,
                drain_timeout=None if protocols.drain_timeout is None else protocols.drain_timeout + _LAST_WORDS,
            )
            await server.run(
                [listener.sock for listener in self.listeners if not listener.secure],
                stop,
                secure=[listener.sock for listener in self.listeners if listener.secure],
                tls=protocols.tls,
            )
            nursery.cancel_scope.cancel()

    async def _begin_to_drain(self, stop: trio.Event, handlers: Sequence[ProxyHandler]) -> None:
        await stop.wait()
        self.readiness.end()
        for handler in handlers:
            handler.begin_to_drain()


def run_server(given: Mapping[str, Any], config_file: str | None = None) -> None:
    """Serve components until told to stop; raises CommandError.

    ``given`` are settings by name, as the command line has them. Others come from the environment and ``config_file``.
    """
    try:
        orders = understand(given, os.environ, config_file)
        protocols = orders.protocol_options()
        settings = orders.settings
        if settings["verbose"]:
            logging.getLogger("wasi_trio").setLevel(logging.INFO)
        supervised = protocols.workers > 1 or settings["stall-kill-limit"] is not None
        if protocols.workers > 1 and settings["admin-addr"] is not None:
            raise CommandError(
                f"admin-addr needs workers to be 1: {protocols.workers} processes would each have counts of their own"
            )
        with ExitStack() as stack:
            engine = stack.enter_context(open_engine())
            chain = orders.load(engine)
            sockets = protocols.sockets
            listeners = stack.enter_context(listening(protocols.secure, protocols.plain, sockets))
            shutdown = settings["shutdown-addr"]
            shutdown_socket = None if shutdown is None else stack.enter_context(open_listener(shutdown, sockets))
            admin = settings["admin-addr"]
            admin_socket = None if admin is None else stack.enter_context(open_listener(admin, sockets))
            _announce(listeners, shutdown_socket, admin_socket)
            if supervised:
                from wasi_trio.serve.process.supervisor import Supervisor

                # What the workers load was compiled by this, and is in wasmtime's cache.
                del chain
                engine.close()
                supervisor = Supervisor(orders, protocols.workers, listeners, admin_socket)
                trio.run(_main, supervisor.run, shutdown_socket)
            else:
                metrics = None if admin_socket is None else new_metrics()
                service = Service(orders, chain, protocols, listeners, metrics)
                with administered(service, admin_socket):
                    trio.run(_main, service.run, shutdown_socket, instruments=service.instruments)
    except (SettingError, LoadError, ListenError) as error:
        raise CommandError(str(error)) from None


def understand(given: Mapping[str, Any], environment: Mapping[str, str], config_file: str | None) -> Orders:
    """All that says what to do, brought together; raises SettingError."""
    path = config_file or environment.get(VARIABLE)
    file = read_config_file(path) if path else None
    return Orders(gather(given, environment, file), file)


async def _main(serve: Callable[[trio.Event], Awaitable[None]], shutdown_socket: socket.socket | None) -> None:
    """Run what serves until a signal, or a connection to the shutdown address, sets its event."""
    async with shutdown_on_signals() as stop, trio.open_nursery() as nursery:
        if shutdown_socket is not None:
            nursery.start_soon(shutdown_on_connection, shutdown_socket, stop)
        await serve(stop)
        nursery.cancel_scope.cancel()


def _announce(
    listeners: Sequence[Listener], shutdown_socket: socket.socket | None, admin_socket: socket.socket | None
) -> None:
    for listener in listeners:
        listener.announce()
    if admin_socket is not None:
        print(f"Metrics and health on http://{address_of(admin_socket)}/", file=sys.stderr, flush=True)
    if shutdown_socket is not None:
        print(f"Listening for shutdown on tcp://{address_of(shutdown_socket)}/", file=sys.stderr, flush=True)


def own_addresses(sockets: Iterable[socket.socket]) -> set[tuple[str, int]]:
    """The IP addresses and ports that sockets listen on."""
    names = [sock.getsockname() for sock in sockets]
    # That of a Unix socket is a path.
    return {(name[0], name[1]) for name in names if isinstance(name, tuple)}


def new_metrics() -> Metrics:
    """With those of the process; here, because prometheus-client is slow to import and most servers go without."""
    from prometheus_client import ProcessCollector

    from wasi_trio.serve.metrics import LivingTasks, Metrics

    metrics = Metrics()
    metrics.tasks = LivingTasks()
    ProcessCollector(registry=metrics.registry)
    return metrics


@contextmanager
def administered(service: Service, admin_socket: socket.socket | None) -> Iterator[None]:
    """Serve the metrics of a service on a socket, if there is one, on a thread."""
    if admin_socket is None or service.metrics is None:
        yield
        return
    from wasi_trio.serve.process.admin import admin_server

    with admin_server(admin_socket, service.metrics, service.readiness):
        yield
