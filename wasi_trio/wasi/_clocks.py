"""Clock resolutions, for all versions of WASI."""

from __future__ import annotations

import time

SECOND = 1_000_000_000


def monotonic_resolution() -> int:
    """Return the resolution of trio's clock in nanoseconds, at least 1."""
    return max(1, round(time.get_clock_info("perf_counter").resolution * SECOND))


def wall_resolution() -> int:
    """Return the resolution of the wall clock in nanoseconds, at least 1."""
    return max(1, round(time.get_clock_info("time").resolution * SECOND))
