"""wasi:io/poll, and the pollables of the monotonic clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from wasi_trio.component._errors import Trap
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.p2._clocks import MonotonicClock
from wasi_trio.wasi.p2._io import AlwaysReady, Pollable
from wasi_trio.wasi.p2._poll import GROUP, Poll

SECOND = 1_000_000_000


class OnEvent(Pollable):
    """A pollable as users would write it."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def ready(self) -> bool:
        return self.event.is_set()

    async def block(self) -> None:
        await self.event.wait()


@pytest.fixture
def poll() -> Poll:
    return Poll(WasiContext())


@pytest.fixture
def clock() -> MonotonicClock:
    return MonotonicClock(WasiContext())


async def test_an_empty_list_traps(poll: Poll) -> None:
    with pytest.raises(Trap, match="empty"):
        await poll.poll([])


async def test_gives_all_that_are_ready_at_once(poll: Poll, clock: MonotonicClock) -> None:
    ready, never = AlwaysReady(), OnEvent()
    with trio.testing.assert_no_checkpoints():
        assert await poll.poll([never, ready, never, clock.subscribe_duration(0), ready]) == [1, 3, 4]


@pytest.mark.parametrize("count", [1, GROUP, GROUP + 1, 10 * GROUP])
async def test_indices_are_in_order_and_complete(poll: Poll, count: int) -> None:
    """Each occurrence of a pollable has its own index."""
    ready, never = AlwaysReady(), OnEvent()
    indices = [index for index in range(count) if index % 3 == 0 or index == count - 1]
    pollables = [ready if index in indices else never for index in range(count)]
    assert await poll.poll(pollables) == indices
    never.event.set()
    assert await poll.poll(pollables) == list(range(count))


async def test_a_timer_beside_many_events(
    poll: Poll, clock: MonotonicClock, autojump_clock: trio.testing.MockClock
) -> None:
    """The deadline ends the wait for the events."""
    events = [OnEvent() for _ in range(10 * GROUP)]
    start = trio.current_time()
    assert await poll.poll([*events, clock.subscribe_duration(2 * SECOND), *events]) == [len(events)]
    assert trio.current_time() - start == 2


async def test_the_earliest_timer_wins(
    poll: Poll, clock: MonotonicClock, autojump_clock: trio.testing.MockClock
) -> None:
    timers = [clock.subscribe_duration(seconds * SECOND) for seconds in (5, 3, 4, 3)]
    start = trio.current_time()
    assert await poll.poll(timers) == [1, 3]
    assert trio.current_time() - start == 3
    assert await poll.poll([timers[0], timers[2]]) == [1]
    await timers[0].block()
    assert trio.current_time() - start == 5
    assert all(timer.ready() for timer in timers)


async def test_a_timer_beside_events(poll: Poll, clock: MonotonicClock, autojump_clock: trio.testing.MockClock) -> None:
    one, two = OnEvent(), OnEvent()
    assert await poll.poll([one, clock.subscribe_duration(SECOND)]) == [1]
    assert await poll.poll([one, two, clock.subscribe_duration(SECOND), one]) == [2]

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def later() -> None:
            await trio.sleep(1)
            two.event.set()

        start = trio.current_time()
        assert await poll.poll([one, clock.subscribe_duration(2 * SECOND), two, two]) == [2, 3]
        assert trio.current_time() - start == 1


async def test_one_event_alone(poll: Poll, autojump_clock: trio.testing.MockClock) -> None:
    event = OnEvent()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def later() -> None:
            await trio.sleep(1)
            event.event.set()

        assert await poll.poll([event]) == [0]


async def test_it_can_be_cancelled(poll: Poll, clock: MonotonicClock, autojump_clock: trio.testing.MockClock) -> None:
    far = clock.subscribe_instant(2**64 - 1)
    many = [OnEvent() for _ in range(GROUP + 1)]
    for pollables in ([OnEvent()], [OnEvent(), OnEvent()], many, [far], [far, OnEvent(), OnEvent()], [far, *many]):
        with trio.move_on_after(1) as scope:
            await poll.poll(pollables)
        assert scope.cancelled_caught


async def test_the_same_pollable_many_times_is_waited_for_once(
    poll: Poll, clock: MonotonicClock, autojump_clock: trio.testing.MockClock
) -> None:
    class Counting(OnEvent):
        waits = 0

        async def block(self) -> None:
            self.waits += 1
            await super().block()

    one, two = Counting(), Counting()
    assert await poll.poll([one, two] * 100 + [clock.subscribe_duration(SECOND)] * 3) == [200, 201, 202]
    assert (one.waits, two.waits) == (1, 1)


@pytest.mark.parametrize("others", [1, 10 * GROUP])
async def test_a_failing_pollable_ends_the_call_with_its_own_exception(poll: Poll, others: int) -> None:
    class Broken(OnEvent):
        async def block(self) -> None:
            await trio.lowlevel.checkpoint()
            raise ValueError("a bug in an embedder's pollable")

    with pytest.raises(ValueError, match="embedder"):
        await poll.poll([*(OnEvent() for _ in range(others)), Broken(), Broken()])


async def test_now_has_reached_the_instant_that_was_waited_for(
    poll: Poll, clock: MonotonicClock, autojump_clock: trio.testing.MockClock
) -> None:
    for nanoseconds in (1, 7, 333_333_333, 1_000_000_007, 86_400 * SECOND + 1):
        when = clock.now() + nanoseconds
        assert await poll.poll([clock.subscribe_instant(when)]) == [0]
        assert when <= clock.now() <= when + 1


async def test_now_follows_trios_clock(clock: MonotonicClock, autojump_clock: trio.testing.MockClock) -> None:
    before = clock.now()
    await trio.sleep(2.5)
    assert clock.now() - before == 2_500_000_000
    assert clock.subscribe_instant(before).ready()
    assert not clock.subscribe_instant(clock.now() + 1).ready()
    assert 1 <= clock.resolution() < SECOND
