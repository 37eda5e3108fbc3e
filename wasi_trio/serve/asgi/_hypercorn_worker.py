"""A fix for the shutdown of hypercorn's worker processes."""

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
    """Let this worker finish its requests although another worker has ended. Use it under trio.

    When one of its workers ends, hypercorn sends SIGTERM to the others, which would lose their active requests. If
    hypercorn has already told this worker to shut down, this block ignores SIGTERM. ``graceful_timeout`` still applies.
    Otherwise SIGTERM ends the process as usual. The block has no effect outside hypercorn's workers.
    """
    told = _shutdown_event()
    if told is None:
        yield
        return
    token = trio.lowlevel.current_trio_token()

    def handle() -> None:
        if not told.is_set():
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)

    # Not handled within the signal handler, because the interrupted code may hold the event's lock.
    before = signal.signal(signal.SIGTERM, lambda *_: token.run_sync_soon(handle))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _shutdown_event() -> Event | None:
    """Return the event by which hypercorn tells this process to shut down, if it is one of hypercorn's workers."""
    arguments: dict[str, Any] = getattr(multiprocessing.current_process(), "_kwargs", {})
    event = arguments.get("shutdown_event")
    return event if isinstance(event, Event) else None
