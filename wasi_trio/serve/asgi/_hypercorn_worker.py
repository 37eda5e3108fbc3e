"""What a worker process of hypercorn needs beside the application, to end as its requests would have it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any

import trio


@contextmanager
def finishing() -> Iterator[None]:
    """Within, let this worker finish its requests even if other workers have finished theirs. To be used under trio.

    As soon as one of its workers has ended, hypercorn sends SIGTERM to those that have not, and all that they have
    under way would be lost. Once it has told them to end that says nothing new, so it is left at that;
    ``graceful_timeout`` still holds. Before, SIGTERM ends this process as it always does. Has no effect where there are
    no such workers.
    """
    told = _shutdown_event()
    if told is None:
        yield
        return
    token = trio.lowlevel.current_trio_token()

    def heed() -> None:
        if not told.is_set():
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)

    # Not in the handler itself: what it interrupts may hold the event's lock.
    before = signal.signal(signal.SIGTERM, lambda *_: token.run_sync_soon(heed))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _shutdown_event() -> Event | None:
    """That by which hypercorn tells this process to end, if it is a worker of its."""
    arguments: dict[str, Any] = getattr(multiprocessing.current_process(), "_kwargs", {})
    event = arguments.get("shutdown_event")
    return event if isinstance(event, Event) else None
