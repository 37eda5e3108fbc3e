"""Memory that was freed after a peak goes back to the system.

glibc keeps what it may need again. After a thousand clients that had stalled it kept hundreds of megabytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import trio

from wasi_trio.component._account import Budget

#: seconds between two looks at what is held
INTERVAL = 5.0
#: bytes that have to have been freed since the peak, and be half of it
LEAST = 32 << 20


class Trimming:
    """Has freed memory given back when much less is held than at the last peak."""

    def __init__(self, budget: Budget, trim: Callable[[], object] | None = None) -> None:
        self._budget = budget
        self._trim = trim or _malloc_trim()
        self._peak = 0

    async def run(self) -> None:
        """Look now and then, until this is cancelled; returns at once where the C library has no such thing."""
        if self._trim is None:
            return
        while True:
            await trio.sleep(INTERVAL)
            used = self._budget.used
            self._peak = max(self._peak, self._budget.peak)
            if self._peak - used >= max(LEAST, self._peak // 2):
                # It takes a while, without the interpreter's lock.
                await trio.to_thread.run_sync(self._trim)
                self._peak = used
            self._budget.peak = used


def _malloc_trim() -> Callable[[], object] | None:
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if function is None:
        return None
    function.argtypes = (ctypes.c_size_t,)
    return lambda: function(0)
