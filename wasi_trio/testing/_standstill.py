"""A bound on what guests compute while a test's clock stands still.

A ``MockClock`` moves when the test says so, or when every task waits. A guest that waits by reading the clock in a loop
does not wait: the clock stands still, and with it every timeout. So real time bounds such a guest: its processor time.
"""

from __future__ import annotations

import trio
from trio.testing import MockClock

from wasi_trio.component._errors import Trap
from wasi_trio.runtime._fiber import Meter

#: seconds of processor time that a guest may use while the clock stands still
LIMIT = 60.0

EXPLANATION = (
    "The test's MockClock stands still while a guest computes, and so do all timeouts. A guest that waits by reading"
    " the clock in a loop waits for ever: have it sleep or poll, or test it without a MockClock."
)


def clock_may_stand_still() -> bool:
    """Whether the clock of the event loop that runs is one of a test's."""
    return isinstance(trio.lowlevel.current_clock(), MockClock)


def meter() -> Meter | None:
    """What bounds the processor time that an instance uses at one moment of the clock; None under a real clock."""
    if not clock_may_stand_still():
        return None
    moment, used = trio.current_time(), 0.0

    def count(task: object, seconds: float) -> None:
        nonlocal moment, used
        now = trio.current_time()
        if now != moment:
            moment, used = now, 0.0
        used += seconds
        if used > LIMIT:
            raise Trap(f"it used more than {LIMIT:g} s of processor time while the clock stood still. {EXPLANATION}")

    return count
