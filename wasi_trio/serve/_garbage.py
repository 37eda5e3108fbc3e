"""The schedule of full garbage collections.

Requests, instances and connections leave no cycles behind, so garbage is rare. But a full collection visits every
object, and guests can make a server hold millions of objects. One collection took 0.3 s with the handles of a single
instance. CPython schedules collections by the number of allocations, which is too often here. This module compares the
number of allocated blocks with the bytes that guests hold (``Budget``). Many blocks for few bytes are probably garbage.
"""

from __future__ import annotations

import gc
import sys

import trio

from wasi_trio.component._account import Budget

#: The interval between two checks, in seconds.
INTERVAL = 10.0
#: The number of younger collections after the last full one that makes another worthwhile.
WORTHWHILE = 10
#: The number of allocated blocks, beyond those at the start, up to which a full collection is short.
FEW = 1_000_000
#: The least number of bytes that the budget counts for one allocated block.
BLOCK = 64
#: The time after which a doubled number of blocks causes a collection, in seconds. Host functions may leave cycles.
DOUBLED_INTERVAL = 60.0

_NEVER = 1_000_000_000


def freeze_garbage_collection() -> None:
    """Exclude all objects that exist now from garbage collection, for the life of the process.

    These are some hundred thousand objects. Each visit to all of them would block the event loop for tens of
    milliseconds.
    """
    gc.collect()
    gc.freeze()


class FullCollections:
    """The schedule of full collections, in CPython's place: see the module.

    CPython 3.14 collects the oldest generation in small steps and ignores that threshold.
    """

    def __init__(self, budget: Budget) -> None:
        first, second, _ = gc.get_threshold()
        gc.set_threshold(first, second, _NEVER)
        self._budget = budget
        #: The number of blocks at the start, and after the last full collection.
        self._base = self._blocks = sys.getallocatedblocks()
        self._since = 0.0

    def due(self, now: float) -> bool:
        """Return whether to collect now. ``now`` is in seconds."""
        if gc.get_count()[2] < WORTHWHILE:
            return False
        blocks = sys.getallocatedblocks()
        more = blocks - self._base
        if more < FEW or more - self._budget.used // BLOCK > FEW:
            return True
        return now - self._since > DOUBLED_INTERVAL and blocks > 2 * self._blocks

    def collect(self, now: float) -> None:
        """Collect all generations."""
        before = sys.getallocatedblocks()
        gc.collect()
        self._blocks = sys.getallocatedblocks()
        self._since = now
        # Much garbage was a peak of memory, so trimming should return it to the system.
        self._budget.peak = max(self._budget.peak, self._budget.used + BLOCK * (before - self._blocks))

    async def run(self) -> None:
        """Collect whenever a collection is due, until cancelled."""
        while True:
            await trio.sleep(INTERVAL)
            now = trio.current_time()
            if self.due(now):
                self.collect(now)
