"""wasi:clocks 0.3: ``monotonic-clock`` and ``system-clock``. ``timezone`` is unstable and not provided."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple

import trio

from wasi_trio.wasi._clocks import SECOND, monotonic_resolution, wall_resolution
from wasi_trio.wasi._context import WasiContext, trio_nanoseconds


class Instant(NamedTuple):
    """The record ``instant``: time since 1970-01-01T00:00:00Z. Nanoseconds always count forward."""

    seconds: int
    nanoseconds: int


class Types:
    """The interface wasi:clocks/types, which has no functions."""

    def __init__(self, context: WasiContext) -> None:
        pass


class MonotonicClock:
    """The interface wasi:clocks/monotonic-clock, based on trio's clock. MockClock controls it."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def now(self) -> int:
        return trio_nanoseconds()

    def get_resolution(self) -> int:
        return monotonic_resolution()

    def wait_until(self, when: int) -> Awaitable[None] | None:
        return trio.sleep_until(when / SECOND) if when > trio_nanoseconds() else None

    def wait_for(self, how_long: int) -> Awaitable[None] | None:
        return trio.sleep_until(trio.current_time() + how_long / SECOND) if how_long else None


class SystemClock:
    """The interface wasi:clocks/system-clock, based on ``wall_clock`` of the options."""

    def __init__(self, context: WasiContext) -> None:
        self._clock = context.options.wall_clock

    def now(self) -> Instant:
        return Instant(*divmod(self._clock(), SECOND))

    def get_resolution(self) -> int:
        return wall_resolution()
