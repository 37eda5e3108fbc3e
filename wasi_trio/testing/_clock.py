"""Real time for operations outside of a test whose clock jumps."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio


@dataclass
class _RealTime:
    """The number of blocks that require real time, and the clock's settings for the time after them."""

    count: int
    rate: float
    autojump_threshold: float


_real_time: trio.lowlevel.RunVar[_RealTime | None] = trio.lowlevel.RunVar("wasi_trio_real_time", None)


@contextmanager
def real_time() -> Iterator[None]:
    """Let a MockClock follow real time while the block runs, because it does not notice waits for a network."""
    testing = sys.modules.get("trio.testing")
    clock = trio.lowlevel.current_clock()
    if testing is None or not isinstance(clock, testing.MockClock):
        yield
        return
    state = _real_time.get()
    if state is None:
        state = _RealTime(0, clock.rate, clock.autojump_threshold)
        _real_time.set(state)
        clock.rate, clock.autojump_threshold = 1.0, math.inf
    state.count += 1
    try:
        yield
    finally:
        state.count -= 1
        if not state.count:
            _real_time.set(None)
            clock.rate, clock.autojump_threshold = state.rate, state.autojump_threshold
