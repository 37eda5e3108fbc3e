"""What a worker process of hypercorn needs beside the application, to end as its requests would have it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.synchronize import Event
from typing import Any

import trio


@asynccontextmanager
async def finishing() -> AsyncIterator[None]:
    """Within, let this worker finish its requests even if other workers have finished theirs.

    As soon as one of its workers has ended, hypercorn sends SIGTERM to those that have not, and all that they have
    under way would be lost. Once it has told them to end that says nothing new, so it is left at that;
    ``graceful_timeout`` still holds. Before, SIGTERM ends this process as it always does. Has no effect where there are
    no such workers.
    """
    told = _shutdown_event()
    if told is None:
        yield
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(_heed_signals, told)
        yield
        nursery.cancel_scope.cancel()


def _shutdown_event() -> Event | None:
    """That by which hypercorn tells this process to end, if it is a worker of its."""
    arguments: dict[str, Any] = getattr(multiprocessing.current_process(), "_kwargs", {})
    event = arguments.get("shutdown_event")
    return event if isinstance(event, Event) else None


async def _heed_signals(told: Event, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if not told.is_set():
                break
    signal.raise_signal(signal.SIGTERM)
