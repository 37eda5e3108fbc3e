"""wasi:clocks 0.2: ``monotonic-clock`` and ``wall-clock``. ``timezone`` is unstable and not provided."""

from __future__ import annotations

from typing import NamedTuple

import trio

from wasi_trio.wasi._clocks import SECOND, monotonic_resolution, wall_resolution
from wasi_trio.wasi._context import WasiContext, trio_nanoseconds
from wasi_trio.wasi.p2._io import Pollable


class Datetime(NamedTuple):
    """The record ``datetime``: time since 1970-01-01T00:00:00Z."""

    seconds: int
    nanoseconds: int


class Timer(Pollable):
    """A pollable that is ready from ``deadline`` on, in trio's time."""

    __slots__ = ("deadline",)

    deadline: float

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def ready(self) -> bool:
        return trio.current_time() >= self.deadline

    async def block(self) -> None:
        if not self.ready():
            await trio.sleep_until(self.deadline)


class MonotonicClock:
    """The interface wasi:clocks/monotonic-clock, based on trio's clock. MockClock controls it."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def now(self) -> int:
        return trio_nanoseconds()

    def resolution(self) -> int:
        return monotonic_resolution()

    def subscribe_instant(self, when: int) -> Timer:
        return Timer(when / SECOND)

    def subscribe_duration(self, when: int) -> Timer:
        return Timer(trio.current_time() + when / SECOND)


class WallClock:
    """The interface wasi:clocks/wall-clock, based on ``wall_clock`` of the options."""

    def __init__(self, context: WasiContext) -> None:
        self._clock = context.options.wall_clock

    def now(self) -> Datetime:
        """Return the time. A time before 1970 becomes 1970, because the record cannot represent it."""
        return Datetime(*divmod(max(0, self._clock()), SECOND))

    def resolution(self) -> Datetime:
        return Datetime(0, wall_resolution())
