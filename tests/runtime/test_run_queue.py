"""Guests that compute share one slot, and other ready work proceeds in between. Nothing here reads a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from wasi_trio.runtime._run_queue import CPU_BOUND, SHORT_TICK, TURNS, Line, run_queue
from wasi_trio.runtime._ticker import TICK, Ticker


class Course:
    """A log of what ran, in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.ticker = Ticker(lambda: None)

    async def compute(self, name: str, component: str, computed: float = CPU_BOUND) -> None:
        """Run a guest that computes endlessly."""
        while True:
            await run_queue().go_on(component, self.ticker, computed)
            self.steps.append(name)

    async def hop(self, count: int) -> None:
        """Run a healthy request that takes that many turns of the loop."""
        for _ in range(count):
            await trio.lowlevel.checkpoint()
        self.steps.append("healthy")


@asynccontextmanager
async def spinners(course: Course, count: int, component: str = "a") -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(course.compute, f"{component}{number}", component)
        yield nursery
        nursery.cancel_scope.cancel()


async def _turns(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def test_guests_that_compute_share_one_slot() -> None:
    """However many guests compute, a request of several turns waits for one or two of their ticks."""
    course = Course()
    async with spinners(course, 100):
        await _turns(3 * TURNS)
        before = len(course.steps)
        await course.hop(TURNS)
        assert len(course.steps) - before <= 3


async def test_guests_that_compute_take_turns() -> None:
    course = Course()
    async with spinners(course, 10):
        while len(course.steps) < 30:
            await trio.lowlevel.checkpoint()
    assert set(Counter(course.steps[:30]).values()) == {3}


async def test_components_take_turns() -> None:
    """The single guest of one component does not wait behind a hundred guests of another."""
    course = Course()
    async with spinners(course, 100), spinners(course, 1, "b"):
        while len(course.steps) < 50:
            await trio.lowlevel.checkpoint()
    assert course.steps[10:50].count("b0") == 20


async def test_a_newly_ready_guest_runs_first() -> None:
    course = Course()
    async with spinners(course, 20) as nursery:
        await _turns(3 * TURNS)

        async def begin() -> None:
            await run_queue().begin("a")
            course.steps.append("healthy")

        before = len(course.steps)
        nursery.start_soon(begin)
        await _turns(TURNS)
        assert "healthy" in course.steps[before : before + 3]


async def test_guests_that_compute_proceed_beside_a_stream_of_new_ones() -> None:
    course = Course()
    async with spinners(course, 1) as nursery:

        async def begin() -> None:
            while True:
                await run_queue().begin("b")
                course.steps.append("fresh")

        for _ in range(50):
            nursery.start_soon(begin)
        await _turns(20 * TURNS)
    assert course.steps.count("a0") >= 15
    assert course.steps.count("fresh") >= 15 * TURNS // 2


async def test_a_cancelled_guest_does_not_wait_for_its_turn() -> None:
    course = Course()
    async with spinners(course, 100):
        await _turns(3 * TURNS)
        before = len(course.steps)
        async with spinners(course, 100, "b"):
            await trio.lowlevel.checkpoint()
        assert len(course.steps) - before <= 3
        assert "b1" not in course.steps


async def test_ticks_are_short_while_several_compute() -> None:
    course = Course()
    async with spinners(course, 1):
        await _turns(3 * TURNS)
        assert course.ticker.period == TICK
        async with spinners(course, 1, "b"):
            await _turns(3 * TURNS)
            assert course.ticker.period == SHORT_TICK
    while course.ticker.period != TICK:
        await trio.lowlevel.checkpoint()


async def test_a_guest_pre_empted_once_does_not_count_as_computing() -> None:
    course = Course()
    async with spinners(course, 1) as nursery:
        nursery.start_soon(course.compute, "short", "a", 0.0)
        await _turns(10 * TURNS)
        assert course.ticker.period == TICK
    assert course.steps.count("short") > 2 * course.steps.count("a0")


class PerTurn(trio.abc.Instrument):
    """The maximum number of a course's steps in one turn of the loop."""

    def __init__(self, course: Course) -> None:
        self.maximum = 0
        self._course = course
        self._before = 0

    def before_io_wait(self, timeout: float) -> None:
        now = len(self._course.steps)
        self.maximum = max(self.maximum, now - self._before)
        self._before = now


async def test_only_one_guest_of_a_turn_computes_for_a_tick() -> None:
    """These guests are pre-empted again and again, but none has used a tick of processor time."""
    course = Course()
    per_turn = PerTurn(course)
    trio.lowlevel.add_instrument(per_turn)
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(course.compute, f"a{number}", "a", 0.0)
        while len(course.steps) < 500:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(per_turn)
    assert per_turn.maximum == 1
    assert min(Counter(course.steps).values()) >= 5, "none starves"


async def test_an_idle_queue_has_no_task() -> None:
    course = Course()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with spinners(course, 3):
        await _turns(3 * TURNS)
    while trio.lowlevel.current_statistics().tasks_living > tasks:
        await trio.lowlevel.checkpoint()
    with trio.fail_after(1):
        await trio.testing.wait_all_tasks_blocked()


async def test_the_task_of_the_queue_ends_with_the_last_guest() -> None:
    """Further turns of the loop would be idle, and cost as much as a request for each tick."""
    course = Course()
    tasks = trio.lowlevel.current_statistics().tasks_living
    await run_queue().go_on("a", course.ticker, 0.0)
    turns = 0
    while trio.lowlevel.current_statistics().tasks_living > tasks:
        await trio.lowlevel.checkpoint()
        turns += 1
    assert turns <= 3


def test_a_line_is_empty_when_all_have_left() -> None:
    line = Line()

    async def main() -> None:
        task = trio.lowlevel.current_task()
        line.add("a", task)
        assert line
        line.remove("a", task)
        assert not line
        line.add("a", task)
        assert line.pop() is task
        assert not line

    trio.run(main)
