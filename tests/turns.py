"""A monitor of the event loop's turns: their durations, and the work in the longest of them.

In one turn trio steps all tasks that are ready, and then looks at sockets and deadlines again. So the longest turn
limits the delay of all other work.

The figures are for people, for ``nox -s attack``, which enforces limits, and for benchmarks. They depend on the machine
and its load, so tests of the suite assert none of them, or only with a wide margin. ``processor`` does not include
waits for the interpreter's lock. It is steadier than ``seconds`` on a busy machine.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

#: Maximum number of turns, the longest ones, whose steps are kept.
KEPT = 5
#: Maximum number of steps, the longest ones, in the description of a turn.
STEPS = 5


@dataclass(frozen=True, order=True)
class Turn:
    """A turn of the loop: its seconds by the clock and of processor time, and its longest steps by task, in seconds."""

    seconds: float
    processor: float
    stepped: int
    steps: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        longest = ", ".join(f"{1e3 * seconds:.1f} ms {name}" for seconds, name in self.steps)
        return (
            f"{1e3 * self.seconds:.1f} ms, {1e3 * self.processor:.1f} ms of them of processor time, "
            f"{self.stepped} steps: {longest or 'no task'}"
        )


class Turns(trio.abc.Instrument):
    """An instrument that measures the turns of its loop: from the end of one wait for I/O to the next.

    ``count`` is the number of turns, ``late`` the number of those longer than ``limit`` seconds. ``longest`` are the
    longest turns in descending order. Work in progress at a call of ``reset`` counts from there.
    """

    def __init__(self, limit: float = 0.050) -> None:
        self.limit = limit
        self._stepping = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget all turns so far."""
        self.count = 0
        self.late = 0
        self._heap: list[Turn] = []
        self._steps: list[tuple[float, str]] = []
        self._begun = time.perf_counter()
        self._processor = time.thread_time()

    @property
    def longest(self) -> list[Turn]:
        return sorted(self._heap, reverse=True)

    @property
    def seconds(self) -> float:
        """The duration of the longest turn in seconds, or 0 without turns."""
        return max((turn.seconds for turn in self._heap), default=0.0)

    @property
    def processor(self) -> float:
        """The maximum processor time of the longest turns in seconds, or 0 without turns."""
        return max((turn.processor for turn in self._heap), default=0.0)

    def __str__(self) -> str:
        lines = [f"{self.count} turns, {self.late} of them over {1e3 * self.limit:.0f} ms"]
        return "\n".join([*lines, *(f"  {turn}" for turn in self.longest)])

    # ---- calls by trio -----------------------------------------------------------------------------------

    def after_io_wait(self, timeout: float) -> None:
        self._begun = time.perf_counter()
        self._processor = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._stepping = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        # A reference to the task would keep all of its objects alive.
        self._steps.append((time.perf_counter() - self._stepping, task.name))

    def before_io_wait(self, timeout: float) -> None:
        seconds = time.perf_counter() - self._begun
        steps = self._steps
        self.count += 1
        if seconds > self.limit:
            self.late += 1
        if len(self._heap) < KEPT or seconds > self._heap[0].seconds:
            processor = time.thread_time() - self._processor
            turn = Turn(seconds, processor, len(steps), tuple(heapq.nlargest(STEPS, steps)))
            (heapq.heappush if len(self._heap) < KEPT else heapq.heapreplace)(self._heap, turn)
        steps.clear()


@contextmanager
def watched(limit: float = 0.050) -> Iterator[Turns]:
    """Measure the turns of the running loop inside the block. The first turn begins with the block."""
    turns = Turns(limit)
    trio.lowlevel.add_instrument(turns)
    try:
        yield turns
    finally:
        trio.lowlevel.remove_instrument(turns)
