"""What the clocks of every version of WASI have in common."""

from __future__ import annotations

import time

SECOND = 1_000_000_000


def monotonic_resolution() -> int:
    """Nanoseconds between ticks of the clock that trio reads, one where it is finer than that."""
    return max(1, round(time.get_clock_info("perf_counter").resolution * SECOND))


def wall_resolution() -> int:
    """Nanoseconds between ticks of the machine's clock, one where it is finer than that."""
    return max(1, round(time.get_clock_info("time").resolution * SECOND))
