"""Clocks and repetitions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

#: what the floors cost, in microseconds, on the machine that the aims are for
REFERENCE_CALLBACK = 0.12
REFERENCE_INSTANCE = 36.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How thoroughly to measure, and the floors of this machine in microseconds."""

    quick: bool = False
    callback: float = REFERENCE_CALLBACK
    instance: float = REFERENCE_INSTANCE

    def repetitions(self, usual: int = 5) -> int:
        return 1 if self.quick else usual

    def seconds(self, usual: float) -> float:
        """How long one repetition takes."""
        return 0.01 if self.quick else usual

    def call_aim(self, microseconds: float) -> float:
        """A bound on calls that was given for the reference machine, for this one."""
        return microseconds * self.callback / REFERENCE_CALLBACK

    def instance_aim(self, microseconds: float) -> float:
        """A bound on instances that was given for the reference machine, for this one."""
        return microseconds * self.instance / REFERENCE_INSTANCE


def each(run: Callable[[int], object], settings: Settings, seconds: float = 0.1) -> float:
    """Microseconds of processor time for each of ``n`` operations that ``run(n)`` performs; the median."""
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
    """``each`` for a coroutine function."""
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
