"""wasi:clocks and wasi:random 0.3, and the environment."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from wasi_trio.wasi._context import WasiContext, WasiOptions, trio_wall_clock
from wasi_trio.wasi.p2._random import InsecureSeed as P2InsecureSeed
from wasi_trio.wasi.p3._cli import Environment
from wasi_trio.wasi.p3._clocks import Instant, MonotonicClock, SystemClock
from wasi_trio.wasi.p3._random import LIMIT, Insecure, InsecureSeed, Random

SECOND = 1_000_000_000


async def test_wait_for_lasts_as_long_as_was_asked(autojump_clock: trio.testing.MockClock) -> None:
    clock = MonotonicClock(WasiContext())
    began = clock.now()
    wait = clock.wait_for(1000 * SECOND)
    assert wait is not None
    await wait
    assert clock.now() == began + 1000 * SECOND


async def test_wait_for_counts_from_the_call(autojump_clock: trio.testing.MockClock) -> None:
    clock = MonotonicClock(WasiContext())
    wait = clock.wait_for(10 * SECOND)
    await trio.sleep(7)
    assert wait is not None
    await wait
    assert trio.current_time() == 10


async def test_wait_until(autojump_clock: trio.testing.MockClock) -> None:
    clock = MonotonicClock(WasiContext())
    when = clock.now() + 3 * SECOND + 1
    wait = clock.wait_until(when)
    assert wait is not None
    await wait
    assert clock.now() >= when
    assert trio.current_time() == pytest.approx(3, abs=1e-6)


async def test_past_instants_do_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    clock = MonotonicClock(WasiContext())
    await trio.sleep(1)
    assert clock.wait_until(0) is None
    assert clock.wait_until(clock.now()) is None
    assert clock.wait_for(0) is None


async def test_the_longest_waits_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    clock = MonotonicClock(WasiContext())
    for wait in (clock.wait_for(2**64 - 1), clock.wait_until(2**64 - 1)):
        assert wait is not None
        with trio.move_on_after(1) as scope:
            await wait
        assert scope.cancelled_caught


def test_resolutions() -> None:
    assert 1 <= MonotonicClock(WasiContext()).get_resolution() < SECOND
    assert 1 <= SystemClock(WasiContext()).get_resolution() < SECOND


def test_the_system_clock_reads_the_options() -> None:
    clock = SystemClock(WasiContext(WasiOptions(wall_clock=lambda: 5 * SECOND + 7)))
    assert clock.now() == Instant(5, 7)


def test_a_time_before_1970() -> None:
    assert SystemClock(WasiContext(WasiOptions(wall_clock=lambda: -1))).now() == Instant(-1, 999_999_999)


async def test_a_system_clock_that_follows_trio(autojump_clock: trio.testing.MockClock) -> None:
    clock = SystemClock(WasiContext(WasiOptions(wall_clock=trio_wall_clock(0))))
    await trio.sleep(60)
    assert clock.now() == Instant(60, 0)


def test_random_bytes() -> None:
    source = Random(WasiContext(WasiOptions(random=random.Random(7).randbytes)))
    assert source.get_random_bytes(0) == b""
    assert source.get_random_bytes(100) == random.Random(7).randbytes(100)


def test_random_bytes_are_bounded() -> None:
    assert len(Random(WasiContext()).get_random_bytes(2**64 - 1)) == LIMIT
    assert len(Insecure(WasiContext()).get_insecure_random_bytes(LIMIT)) == LIMIT


def test_random_numbers() -> None:
    context = WasiContext(WasiOptions(random=lambda size: b"\x01".ljust(size, b"\0")))
    assert Random(context).get_random_u64() == 1
    assert Insecure(context).get_insecure_random_u64() == 1
    assert InsecureSeed(context).get_insecure_seed() == (1, 0)


def test_the_seed_of_an_instance() -> None:
    """The seed is the same in 0.2 and 0.3, and differs between instances."""
    context, other = WasiContext(), WasiContext()
    seeds = {InsecureSeed(context).get_insecure_seed() for _ in range(3)}
    seeds.add(P2InsecureSeed(context).insecure_seed())
    assert len(seeds) == 1
    assert InsecureSeed(other).get_insecure_seed() not in seeds


def test_environment() -> None:
    environment = Environment(WasiContext(WasiOptions(args=["app", "-v"], env=[("A", "1")], initial_cwd="/srv")))
    assert list(environment.get_arguments()) == ["app", "-v"]
    assert list(environment.get_environment()) == [("A", "1")]
    assert environment.get_initial_cwd() == "/srv"
    assert Environment(WasiContext()).get_initial_cwd() is None
