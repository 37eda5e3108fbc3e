"""Clocks and repetitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

#: the floors of the reference machine, for which the aims were set, in microseconds
REFERENCE_CALLBACK = 0.12
REFERENCE_INSTANCE = 36.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The thoroughness of measurements, and the floors of this machine in microseconds."""

    quick: bool = False
    callback: float = REFERENCE_CALLBACK
    instance: float = REFERENCE_INSTANCE

    def repetitions(self, usual: int = 5) -> int:
        return 1 if self.quick else usual

    def seconds(self, usual: float) -> float:
        """Return the duration of one repetition."""
        return 0.01 if self.quick else usual

    def call_aim(self, microseconds: float) -> float:
        """Scale an aim for calls from the reference machine to this one."""
        return microseconds * self.callback / REFERENCE_CALLBACK

    def instance_aim(self, microseconds: float) -> float:
        """Scale an aim for instances from the reference machine to this one."""
        return microseconds * self.instance / REFERENCE_INSTANCE


def each(run: Callable[[int], object], settings: Settings, seconds: float = 0.1) -> float:
    """Return the median of microseconds of processor time per operation. ``run(n)`` performs ``n`` operations."""
    count, elapsed = 1, 0.0
    run(1)
    while elapsed < settings.seconds(seconds) / 4:
        count *= 2
        start = time.process_time()
        run(count)
        elapsed = time.process_time() - start
    count = max(1, int(count * settings.seconds(seconds) / elapsed))
    taken = []
    for _ in range(settings.repetitions()):
        start = time.process_time()
        run(count)
        taken.append((time.process_time() - start) / count)
    return statistics.median(taken) * 1e6


async def each_async(run: Callable[[int], Awaitable[object]], settings: Settings, seconds: float = 0.1) -> float:
    """Measure a coroutine function like ``each``."""
    count, elapsed = 1, 0.0
    await run(1)
    while elapsed < settings.seconds(seconds) / 4:
        count *= 2
        start = time.process_time()
        await run(count)
        elapsed = time.process_time() - start
    count = max(1, int(count * settings.seconds(seconds) / elapsed))
    taken = []
    for _ in range(settings.repetitions()):
        start = time.process_time()
        await run(count)
        taken.append((time.process_time() - start) / count)
    return statistics.median(taken) * 1e6
