"""What ``wasi_trio serve`` does once its options are understood."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import trio

from wasi_trio.serve.application import Application
from wasi_trio.serve.loading import LoadError, open_engine
from wasi_trio.serve.middleware import Chain
from wasi_trio.serve.options import HandlerOptions
from wasi_trio.serve.readiness import Readiness
from wasi_trio.serve.server import Server, address_of, bind, shutdown_on_connection, shutdown_on_signals
from wasi_trio.wasi.context import WasiOptions
from wasi_trio.wasi.process_stdio import ProcessOutput

if TYPE_CHECKING:
    from wasi_trio.serve.handler import ProxyHandler
    from wasi_trio.serve.metrics import Metrics


#: seconds for clients to be told, after the time for draining, that their requests will not be answered
_LAST_WORDS = 1.0


class CommandError(Exception):
    """The server can not be started; the message is one line."""


def run_server(
    components: Sequence[str],
    *,
    addr: tuple[str, int],
    shutdown_addr: tuple[str, int] | None,
    admin_addr: tuple[str, int] | None,
    env: Sequence[tuple[str, str]],
    headers: Sequence[tuple[bytes, bytes]],
    no_logging_prefix: bool,
    max_instance_reuse_count: int | None,
    max_instance_concurrent_reuse_count: int | None,
    idle_instance_timeout: float,
    request_timeout: float | None,
    stall_limit: float,
    max_concurrent_requests: int,
    max_concurrent_connections: int,
    drain_timeout: float | None = None,
) -> None:
    """Serve a component's file, or the built-in component, until told to stop; raises CommandError.

    Of several, each answers the requests that the one before it makes of ``wasi:http/handler``.
    """
    metrics = _new_metrics() if admin_addr is not None else None
    options = HandlerOptions(
        max_instance_reuse_count=max_instance_reuse_count,
        max_instance_concurrent_reuse_count=max_instance_concurrent_reuse_count,
        idle_instance_timeout=idle_instance_timeout,
        request_timeout=request_timeout,
        stall_limit=stall_limit,
        max_concurrent_requests=max_concurrent_requests,
        drain_timeout=drain_timeout,
        wasi=WasiOptions(env=tuple(env), stdout=ProcessOutput(1), stderr=ProcessOutput(2)),
        logging_prefix=not no_logging_prefix,
        metrics=metrics,
    )
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine())
        try:
            chain = Chain(engine, components or (None,))
        except LoadError as error:
            raise CommandError(str(error)) from None
        listener = stack.enter_context(closing(_bind(addr)))
        shutdown_listener = stack.enter_context(closing(_bind(shutdown_addr))) if shutdown_addr is not None else None
        admin_listener = stack.enter_context(closing(_bind(admin_addr))) if admin_addr is not None else None
        readiness = Readiness()

        async def main() -> None:
            async with (
                shutdown_on_signals() as stop,
                chain.open(options) as handlers,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(_begin_to_drain, stop, readiness, handlers)
                readiness.handlers = handlers
                if shutdown_listener is not None:
                    nursery.start_soon(shutdown_on_connection, shutdown_listener, stop)
                application = Application(handlers[0], headers=headers, adds_date=True)
                server = Server(
                    application,
                    max_connections=max_concurrent_connections,
                    drain_timeout=None if drain_timeout is None else drain_timeout + _LAST_WORDS,
                )
                await server.run([listener], stop)
                nursery.cancel_scope.cancel()

        print(f"Serving HTTP on http://{address_of(listener)}/", file=sys.stderr, flush=True)
        if admin_listener is not None and metrics is not None:
            from wasi_trio.serve.admin import admin_server

            print(f"Metrics and health on http://{address_of(admin_listener)}/", file=sys.stderr, flush=True)
            stack.enter_context(admin_server(admin_listener, metrics, readiness))
        if shutdown_listener is not None:
            print(f"Listening for shutdown on tcp://{address_of(shutdown_listener)}/", file=sys.stderr, flush=True)
        trio.run(main)


async def _begin_to_drain(stop: trio.Event, readiness: Readiness, handlers: Sequence[ProxyHandler]) -> None:
    await stop.wait()
    readiness.end()
    for handler in handlers:
        handler.begin_to_drain()


def _new_metrics() -> Metrics:
    """With those of the process; here, because prometheus-client is slow to import and most servers go without."""
    from prometheus_client import ProcessCollector

    from wasi_trio.serve.metrics import Metrics

    metrics = Metrics()
    ProcessCollector(registry=metrics.registry)
    return metrics


def _bind(address: tuple[str, int]) -> socket.socket:
    try:
        return bind(address)
    except OSError as error:
        host, port = address
        raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}") from None
