"""What tells a server to end: signals, and a connection."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from wasi_trio._texts import get_logger

logger = get_logger("wasi_trio.serve")


def ignore_hang_up() -> None:
    """Tell of SIGHUP and ignore it while the server starts, unless it was started at a terminal."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not os.isatty(2):
        signal.signal(signal.SIGHUP, lambda number, frame: _tell_ignored())


def _tell_ignored() -> None:
    logger.warning("SIGHUP is ignored while the server starts")


@asynccontextmanager
async def shutdown_on_signals(reload: Callable[[], None] | None = None) -> AsyncIterator[trio.Event]:
    """Within this block the first SIGTERM or SIGINT sets the event it gives, and the second cancels the block.

    SIGHUP calls ``reload``. From a terminal that is closed it is as the first of the others: nobody is there any more
    to end the server. Where it is ignored already (``nohup``), or without ``reload``, so it stays.
    For the main thread only, where signals arrive.
    """
    stop = trio.Event()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if reload is not None and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    at_terminal = os.isatty(2)
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_signals, signals, stop, nursery.cancel_scope, at_terminal, reload)
            yield stop
            nursery.cancel_scope.cancel()


async def _watch_signals(
    signals: AsyncIterator[int],
    stop: trio.Event,
    scope: trio.CancelScope,
    at_terminal: bool,
    reload: Callable[[], None] | None,
) -> None:
    async for number in signals:
        hung_up = number == signal.SIGHUP
        if hung_up and reload is not None and not (at_terminal and not os.isatty(2)):
            reload()
        elif not stop.is_set():
            logger.warning("shutting down when the requests under way are answered; a second signal ends at once")
            stop.set()
        elif not hung_up:
            scope.cancel()


async def profiles_on_signal(write: Callable[[], Awaitable[object]]) -> None:
    """Call ``write`` at each SIGUSR2, which says that profiles are wanted now. For the main thread only."""
    with trio.open_signal_receiver(signal.SIGUSR2) as signals:
        async for _ in signals:
            await write()


async def shutdown_on_connection(listener: socket.socket, stop: trio.Event) -> None:
    """Wait for the first connection to a listening socket, then set ``stop``; the socket is closed in the end."""
    async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as shutdown, await shutdown.accept():
        stop.set()
