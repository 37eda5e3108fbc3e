"""Return of freed memory to the system after a peak.

glibc keeps freed memory for later use. After a thousand stalled clients it kept hundreds of megabytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import trio

from wasi_trio.component._account import Budget

#: The interval between two checks, in seconds.
INTERVAL = 5.0
#: The bytes that must have been freed since the peak. They must also be at least half of the peak.
MIN_FREED = 32 << 20


class Trimming:
    """Returns freed memory to the system when much less is held than at the last peak."""

    def __init__(self, budget: Budget, trim: Callable[[], object] | None = None) -> None:
        self._budget = budget
        self._trim = trim or _malloc_trim()
        self._peak = 0

    async def run(self) -> None:
        """Check at intervals, until cancelled. Return at once if the C library lacks ``malloc_trim``."""
        if self._trim is None:
            return
        while True:
            await trio.sleep(INTERVAL)
            used = self._budget.used
            self._peak = max(self._peak, self._budget.peak)
            if self._peak - used >= max(MIN_FREED, self._peak // 2):
                # This takes a while, but releases the interpreter's lock.
                await trio.to_thread.run_sync(self._trim)
                self._peak = used
            self._budget.peak = used


def _malloc_trim() -> Callable[[], object] | None:
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if function is None:
        return None
    function.argtypes = (ctypes.c_size_t,)
    return lambda: function(0)
