"""Work in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    """Call ``work`` in a thread. After a cancellation the work continues, and its result is dropped.

    trio keeps a thread's exception in variables of frames that belong to its traceback. That is a cycle, which only the
    garbage collector could free, and it would block the event loop. So the exception takes another way.
    """
    failures: list[Exception] = []

    def attempt() -> T | None:
        try:
            return work()
        except Exception as error:
            failures.append(error)
            return None

    result = await trio.to_thread.run_sync(attempt, abandon_on_cancel=True, limiter=limiter)
    if failures:
        raise failures.pop()
    return result  # type: ignore[return-value]
