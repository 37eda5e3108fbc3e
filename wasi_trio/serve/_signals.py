"""The triggers of a shutdown: signals, and a connection."""

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
    """Ignore SIGHUP with a warning while the server starts, unless a terminal started it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not os.isatty(2):
        signal.signal(signal.SIGHUP, lambda number, frame: _warn_ignored())


def _warn_ignored() -> None:
    logger.warning("SIGHUP is ignored while the server starts")


@asynccontextmanager
async def shutdown_on_signals(reload: Callable[[], None] | None = None) -> AsyncIterator[trio.Event]:
    """Set the returned event at the first SIGTERM or SIGINT within this block. Cancel the block at the second.

    SIGHUP calls ``reload``. When the server's terminal closes, SIGHUP acts like SIGTERM, because nobody is left to stop
    the server. An ignored SIGHUP (``nohup``) stays ignored, and so does SIGHUP without ``reload``. Only the main thread
    may call this, because it receives the signals.
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
            logger.warning("Shutting down once the active requests are answered; a second signal ends at once")
            stop.set()
        elif not hung_up:
            scope.cancel()


async def profiles_on_signal(write: Callable[[], Awaitable[object]]) -> None:
    """Call ``write`` at each SIGUSR2, which requests profiles. Only the main thread may call this."""
    with trio.open_signal_receiver(signal.SIGUSR2) as signals:
        async for _ in signals:
            await write()


async def shutdown_on_connection(listener: socket.socket, stop: trio.Event) -> None:
    """Wait for the first connection to a listening socket, set ``stop``, and close the socket."""
    async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as shutdown, await shutdown.accept():
        stop.set()
