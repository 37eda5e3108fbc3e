"""Freed memory is returned to the system after a peak, and only then."""

from __future__ import annotations

import trio
import trio.testing

from tests.e2e.support import until
from wasi_trio.component._account import Account, Budget
from wasi_trio.serve._trimming import INTERVAL, MIN_FREED, Trimming


async def test_memory_is_returned_after_a_peak(autojump_clock: trio.testing.MockClock) -> None:
    budget = Budget()
    trimmed: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Trimming(budget, lambda: trimmed.append(1)).run)
        small = Account(budget=budget)
        for _ in range(3):  # too small to be peaks
            small.charge(MIN_FREED // 2)
            small.refund(MIN_FREED // 2)
            await trio.sleep(INTERVAL)
        assert not trimmed
        large = Account(budget=budget)
        large.charge(4 * MIN_FREED)
        await trio.sleep(INTERVAL)
        assert not trimmed, "it is held still"
        large.close()
        await trio.sleep(INTERVAL)
        await until(lambda: len(trimmed) == 1)  # in another thread, which the clock does not wait for
        await trio.sleep(10 * INTERVAL)
        assert len(trimmed) == 1
        Account(budget=budget).charge(4 * MIN_FREED)
        account = Account(budget=budget)
        account.charge(MIN_FREED)
        account.close()
        await trio.sleep(2 * INTERVAL)
        assert len(trimmed) == 1, "most is held still"
        nursery.cancel_scope.cancel()


async def test_the_c_library(autojump_clock: trio.testing.MockClock) -> None:
    """glibc has malloc_trim, and other libraries do not. In both cases the task continues or ends without an error."""
    budget = Budget()
    with trio.move_on_after(3 * INTERVAL):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Trimming(budget).run)
            account = Account(budget=budget)
            account.charge(4 * MIN_FREED)
            account.close()
    assert budget.peak in (0, 4 * MIN_FREED)
