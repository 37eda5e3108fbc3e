"""The ``wasi_trio serve`` command after its command line has been parsed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import trio

from wasi_trio.runtime._profile_options import GuestProfile
from wasi_trio.serve._listening import Listener, ListenError, address_of, listening, open_listener
from wasi_trio.serve._loading import LoadError
from wasi_trio.serve._logs import set_up_logs
from wasi_trio.serve._signals import ignore_hang_up, shutdown_on_connection, shutdown_on_signals
from wasi_trio.serve.process._notify import ServiceManager
from wasi_trio.serve.process._reloading import Reloading
from wasi_trio.serve.process._server_config import read_server_config
from wasi_trio.serve.process._service import Service, administered, exported, new_metrics
from wasi_trio.serve.process._watching import check_watching, warn_unwatched
from wasi_trio.serve.routing._versions import Loader, log_pins
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.telemetry._switch import wanted
from wasi_trio.wasi._descriptors import raise_limit
from wasi_trio.wasi._loading import check_address_space

if TYPE_CHECKING:
    import socket


class CommandError(Exception):
    """The server cannot start. The message is one line."""


def run_server(given: Mapping[str, Any], config_file: str | None = None) -> None:
    """Serve components until told to stop. Raise CommandError if the server cannot start.

    ``given`` are the settings from the command line. Others come from the environment and from ``config_file``.
    """
    raise_limit()
    ignore_hang_up()
    manager = ServiceManager.from_environment(os.environ)
    try:
        config = read_server_config(given, os.environ, config_file)
        telemetry = wanted(os.environ)
        set_up_logs(config.settings)
        protocols = config.protocol_options()
        settings = config.settings
        supervised = protocols.workers > 1 or settings["stall-kill-limit"] is not None
        settings.check_processes(protocols.workers)
        check_address_space()
        if settings["watch"]:
            check_watching()
        if isinstance(settings["profile"], GuestProfile):
            # Without a handler SIGUSR2 would kill the process. Workers inherit this.
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        with ExitStack() as stack:
            engine = stack.enter_context(settings.engine_options().open())
            versions = config.read()
            loader = Loader(engine)
            loaded = [loader.load(version, settings) for version in versions]
            reloading = Reloading()
            sockets = protocols.sockets
            listeners = stack.enter_context(listening(protocols.secure, protocols.plain, sockets))
            shutdown = settings["shutdown-addr"]
            shutdown_socket = None if shutdown is None else stack.enter_context(open_listener(shutdown, sockets))
            admin = settings["admin-addr"]
            admin_socket = None if admin is None else stack.enter_context(open_listener(admin, sockets))

            def announce() -> None:
                _announce(listeners, shutdown_socket, admin_socket)
                log_pins(versions)
                warn_unwatched(settings)

            if supervised:
                from wasi_trio.serve.process._supervisor import Supervisor

                # Compiling has put the workers' code into wasmtime's cache.
                del loaded, loader
                engine.close()
                supervisor = Supervisor(config, versions, protocols.workers, listeners, admin_socket, reloading)
                trio.run(_main, announce, supervisor.run, shutdown_socket, manager, reloading)
            else:
                metrics = None if admin_socket is None and not telemetry.metrics else new_metrics()
                with exported(telemetry, metrics) as tracer:
                    service = Service(
                        config,
                        versions,
                        loader,
                        loaded,
                        protocols,
                        listeners,
                        metrics,
                        tracer=tracer,
                        reloading=reloading,
                    )
                    instruments = service.instruments
                    with administered(service, admin_socket):
                        trio.run(
                            _main, announce, service.run, shutdown_socket, manager, reloading, instruments=instruments
                        )
    except (SettingError, LoadError, ListenError) as error:
        raise CommandError(str(error)) from None


async def _main(
    announce: Callable[[], None],
    serve: Callable[[trio.Event, Callable[[], object]], Awaitable[None]],
    shutdown_socket: socket.socket | None,
    manager: ServiceManager,
    reloading: Reloading,
) -> None:
    """Run the server until a signal, or a connection to the shutdown address, sets its event.

    ``announce`` prints the server's addresses. A program that has read them may send signals at once.
    """
    async with shutdown_on_signals(reloading.request_all) as stop, trio.open_nursery() as nursery:
        announce()
        nursery.start_soon(manager.run, stop)
        if shutdown_socket is not None:
            nursery.start_soon(shutdown_on_connection, shutdown_socket, stop)
        await serve(stop, manager.ready)
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
