"""Limits the processor time of guests while a test's clock stands still.

A ``MockClock`` moves when the test moves it, or when all tasks wait. A guest that reads the clock in a loop keeps its
task busy, so the clock stands still, and so do all timeouts. Processor time is real time, and can limit that guest.
"""

from __future__ import annotations

import trio
from trio.testing import MockClock

from wasi_trio.component._errors import Trap
from wasi_trio.runtime._fiber import Meter

#: Maximum processor time of a guest while the clock stands still, in seconds.
LIMIT = 60.0

EXPLANATION = (
    "The test's MockClock stands still while a guest computes, and so do all timeouts. A guest that waits by reading"
    " the clock in a loop waits forever: let it sleep or poll, or test it without a MockClock."
)


def clock_may_stand_still() -> bool:
    """Return whether the clock of the current event loop is a MockClock."""
    return isinstance(trio.lowlevel.current_clock(), MockClock)


def meter() -> Meter | None:
    """Return a meter that limits an instance's processor time while the clock stands still; None under a real clock.

    Beyond the limit, the guest traps.
    """
    if not clock_may_stand_still():
        return None
    last_time, used = trio.current_time(), 0.0

    def count(task: object, seconds: float) -> None:
        nonlocal last_time, used
        now = trio.current_time()
        if now != last_time:
            last_time, used = now, 0.0
        used += seconds
        if used > LIMIT:
            raise Trap(f"it used more than {LIMIT:g} s of processor time while the clock stood still. {EXPLANATION}")

    return count
