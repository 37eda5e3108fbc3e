"""A worker process. A supervisor starts it with ``python -m wasi_trio.serve.process._worker_process``."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from typing import NoReturn

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve._listening import Listener
from wasi_trio.serve._loading import LoadError
from wasi_trio.serve._logs import set_up_logs
from wasi_trio.serve._signals import shutdown_on_signals
from wasi_trio.serve.process._server_config import ServerConfig
from wasi_trio.serve.process._service import Service, exported, new_metrics, reported
from wasi_trio.serve.process._supervisor import (
    BEAT,
    DRAIN,
    LEAVE,
    RELOAD,
    SERVING,
    TAKEN_OVER,
    WRITE_PROFILES,
)
from wasi_trio.serve.routing._versions import Loader, RouteVersion
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.telemetry._switch import wanted

logger = get_logger("wasi_trio.serve")

#: The exit code of a worker that cannot serve.
CANNOT_SERVE = 2
#: The time for active requests after the supervisor's end, in seconds.
ORPHANED = 10.0


def main(number: str, prefix: str, descriptor: str, reports: str | None = None) -> NoReturn:
    """Serve according to a supervisor's commands on the socket ``descriptor``, and exit.

    ``prefix`` precedes the numbers of instances. Reports are sent on the socket ``reports``, if given.
    """
    # The supervisor kills a blocked worker with SIGABRT. With this it writes its stack to standard error.
    faulthandler.enable()
    # A service manager may send SIGHUP to all processes of the service. The supervisor handles it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    control = _inherited(int(descriptor))
    channel = None if reports is None else _inherited(int(reports))
    size = int.from_bytes(_receive(control, 4))
    config, versions, sockets, interval = pickle.loads(_receive(control, size))
    try:
        set_up_logs(config.settings, number)
        _serve(control, channel, number, prefix, config, versions, sockets, interval)
    except (LoadError, SettingError) as error:
        logger.error("%s", error)
        sys.exit(CANNOT_SERVE)
    sys.exit(0)


def _receive(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            sys.exit(CANNOT_SERVE)  # the supervisor has ended
        data += more
    return data


def _serve(
    control: socket.socket,
    channel: socket.socket | None,
    number: str,
    prefix: str,
    config: ServerConfig,
    versions: Sequence[RouteVersion],
    sockets: list[tuple[int, bool]],
    interval: float | None,
) -> None:
    listeners = [Listener(_inherited(descriptor), secure) for descriptor, secure in sockets]
    with config.settings.engine_options().open() as engine:
        loader = Loader(engine)
        loaded = [loader.load(version, config.settings) for version in versions]
        telemetry = wanted(os.environ)
        metrics = None
        if channel is not None or telemetry.metrics:
            metrics = new_metrics()
            # The supervisor counts reloads.
            metrics.reloads = None
        protocols = config.protocol_options()
        with exported(telemetry, metrics, number) as tracer:
            service = Service(
                config, versions, loader, loaded, protocols, listeners, metrics, prefix=prefix, tracer=tracer
            )
            with reported(service, channel):
                trio.run(_main, service, control, interval, instruments=service.instruments)


def _inherited(descriptor: int) -> socket.socket:
    inherited = socket.socket(fileno=descriptor)
    inherited.set_inheritable(False)
    return inherited


async def _main(service: Service, control: socket.socket, interval: float | None) -> None:
    control.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(control))
    # A second signal to this process cancels this block, and so does the supervisor.
    async with stream, shutdown_on_signals() as stop, trio.open_nursery() as nursery:
        nursery.start_soon(_obey, stream, service, stop, nursery)
        nursery.start_soon(_report, stream, interval)
        await service.run(stop)
        nursery.cancel_scope.cancel()


async def _obey(control: trio.SocketStream, service: Service, stop: trio.Event, nursery: trio.Nursery) -> None:
    try:
        async for command, content in _commands(control):
            if command == WRITE_PROFILES:
                await service.write_profiles()
            elif command == LEAVE:
                nursery.cancel_scope.cancel()
            elif command == DRAIN:
                stop.set()
            elif command == RELOAD:
                nursery.start_soon(_take_over, control, service, content)
    except trio.BrokenResourceError:
        logger.debug("The supervisor ended within a command")
    logger.error("The supervisor has ended: active requests have %g s left", ORPHANED)
    stop.set()
    await trio.sleep(ORPHANED)
    nursery.cancel_scope.cancel()


async def _commands(control: trio.SocketStream) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the supervisor's commands: single letters, one of them with a length and content."""
    data = bytearray()
    async for more in control:
        data += more
        while data:
            letter, end = bytes(data[:1]), 1
            if letter == RELOAD:
                end = 5 + int.from_bytes(data[1:5])
                if len(data) < 5 or len(data) < end:
                    break
            content = bytes(data[5:end])
            del data[:end]
            yield letter, content


async def _take_over(control: trio.SocketStream, service: Service, content: bytes) -> None:
    """Serve routes that the supervisor has checked. If that fails, the supervisor replaces this process."""
    config, versions = pickle.loads(content)
    try:
        await service.adopt(config, versions)
    except (LoadError, SettingError) as error:
        logger.error("%s", error)
        return
    try:
        await control.send_all(TAKEN_OVER)
    except trio.BrokenResourceError:
        logger.debug("The supervisor has ended and receives no messages")


async def _report(control: trio.SocketStream, interval: float | None) -> None:
    """Report that this process serves, and every ``interval`` seconds that its event loop is running."""
    try:
        await control.send_all(SERVING)
        while interval is not None:
            await trio.sleep(interval / 2)
            await control.send_all(BEAT)
    except trio.BrokenResourceError:
        logger.debug("The supervisor has ended and receives no messages")


if __name__ == "__main__":
    main(*sys.argv[1:])
