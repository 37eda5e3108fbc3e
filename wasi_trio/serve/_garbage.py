"""When the process collects garbage.

Nothing here leaves cycles for each request, instance or connection, so there is little to collect. But a full
collection looks at every object there is, and guests can have a server hold millions: one took 0.3 s with the handles
of a single instance. So full collections are not left to CPython's counts of allocations. What guests have the host
hold is counted in bytes (``Budget``): many objects where few bytes are held are garbage, and it is time.
"""

from __future__ import annotations

import gc
import sys

import trio

from wasi_trio.component._account import Budget

#: seconds between two looks at whether to collect
INTERVAL = 10.0
#: collections of the younger generations, since the last full one, from which another is worth its time
WORTHWHILE = 10
#: allocated blocks, beyond those that were there at first, up to which a full collection is short
FEW = 1_000_000
#: bytes that are counted, at least, for a block that a guest has the host allocate
BLOCK = 64
#: seconds after which it is done all the same, where blocks have doubled since: cycles in host functions may be why
PATIENCE = 60.0

_NEVER = 1_000_000_000


def freeze_garbage_collection() -> None:
    """Keep everything that is loaded by now out of garbage collection, for as long as the process lives.

    It is some hundred thousand objects. Looking through them now and then would stop the event loop for tens of
    milliseconds each time.
    """
    gc.collect()
    gc.freeze()


class FullCollections:
    """Decides when all generations are collected, instead of CPython: see the module.

    CPython 3.14 collects the oldest generation in small steps by itself, and ignores that threshold.
    """

    def __init__(self, budget: Budget) -> None:
        first, second, _ = gc.get_threshold()
        gc.set_threshold(first, second, _NEVER)
        self._budget = budget
        #: blocks at first, and after the last full collection
        self._base = self._blocks = sys.getallocatedblocks()
        self._since = 0.0

    def due(self, now: float) -> bool:
        """Whether to collect now; ``now`` is in seconds."""
        if gc.get_count()[2] < WORTHWHILE:
            return False
        blocks = sys.getallocatedblocks()
        more = blocks - self._base
        if more < FEW or more - self._budget.used // BLOCK > FEW:
            return True
        return now - self._since > PATIENCE and blocks > 2 * self._blocks

    def collect(self, now: float) -> None:
        """Collect all generations."""
        before = sys.getallocatedblocks()
        gc.collect()
        self._blocks = sys.getallocatedblocks()
        self._since = now
        # Much garbage is a peak, after which memory is to be given back.
        self._budget.peak = max(self._budget.peak, self._budget.used + BLOCK * (before - self._blocks))

    async def run(self) -> None:
        """Collect whenever it is due, until this is cancelled."""
        while True:
            await trio.sleep(INTERVAL)
            now = trio.current_time()
            if self.due(now):
                self.collect(now)
