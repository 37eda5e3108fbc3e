"""What tells a server to end: signals, and a connection."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from wasi_trio.texts import get_logger

logger = get_logger("wasi_trio.serve")


@asynccontextmanager
async def shutdown_on_signals() -> AsyncIterator[trio.Event]:
    """Within this block the first SIGTERM or SIGINT sets the event it gives, and the second cancels the block.

    For the main thread only, where signals arrive.
    """
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_signals, signals, stop, nursery.cancel_scope)
            yield stop
            nursery.cancel_scope.cancel()


async def _watch_signals(signals: AsyncIterator[int], stop: trio.Event, scope: trio.CancelScope) -> None:
    await anext(signals)
    logger.warning("shutting down when the requests under way are answered; a second signal ends at once")
    stop.set()
    await anext(signals)
    scope.cancel()


async def shutdown_on_connection(listener: socket.socket, stop: trio.Event) -> None:
    """Wait for the first connection to a listening socket, then set ``stop``; the socket is closed in the end."""
    async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as shutdown, await shutdown.accept():
        stop.set()
