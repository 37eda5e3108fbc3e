"""Full collections run when they are short, and not while guests make the process hold much memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from wasi_trio.component._account import Budget
from wasi_trio.serve import _garbage as garbage
from wasi_trio.serve._garbage import FullCollections


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def older_generations_have_been_collected() -> None:
    for _ in range(garbage.WORTHWHILE):
        gc.collect(1)


async def test_cycles_are_collected_eventually(autojump_clock: trio.testing.MockClock) -> None:
    collections = FullCollections(Budget())
    gc.collect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collections.run)
        node = weakref.ref(Node())
        older_generations_have_been_collected()
        full = gc.get_stats()[2]["collections"]
        await trio.sleep(garbage.INTERVAL + 1)
        assert gc.get_stats()[2]["collections"] == full + 1
        assert node() is None
        await trio.sleep(10 * garbage.INTERVAL)
        assert gc.get_stats()[2]["collections"] == full + 1, "nothing was left to collect"
        nursery.cancel_scope.cancel()


async def test_collection_is_rare_while_guests_hold_much(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "FEW", -1_000_000_000)
    blocks = [1000]
    monkeypatch.setattr("sys.getallocatedblocks", lambda: blocks[0])
    budget = Budget()
    budget.used = 1 << 40
    collections = FullCollections(budget)
    older_generations_have_been_collected()
    now = trio.current_time()
    assert not collections.due(now) and not collections.due(now + 2 * garbage.DOUBLED_INTERVAL)
    blocks[0] = 3000
    assert not collections.due(garbage.DOUBLED_INTERVAL - 1)
    assert collections.due(garbage.DOUBLED_INTERVAL + 1)
    collections.collect(garbage.DOUBLED_INTERVAL + 1)
    older_generations_have_been_collected()
    assert not collections.due(3 * garbage.DOUBLED_INTERVAL), "no more is held than then"


async def test_many_objects_are_garbage_if_guests_hold_little(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [1000]
    monkeypatch.setattr("sys.getallocatedblocks", lambda: blocks[0])
    budget = Budget()
    collections = FullCollections(budget)
    older_generations_have_been_collected()
    blocks[0] += 3 * garbage.FEW
    budget.used = 3 * garbage.FEW * garbage.BLOCK
    assert not collections.due(1.0)
    budget.used = garbage.FEW * garbage.BLOCK
    assert collections.due(1.0)
    monkeypatch.setattr(gc, "collect", lambda: blocks.__setitem__(0, 1000))
    collections.collect(1.0)
    assert budget.peak == budget.used + 3 * garbage.FEW * garbage.BLOCK, "memory must be returned"


def test_many_objects_cause_no_full_collection() -> None:
    FullCollections(Budget())
    gc.collect()
    full = gc.get_stats()[2]["collections"]
    kept = [[] for _ in range(300_000)]  # type: ignore[var-annotated]
    assert gc.get_stats()[2]["collections"] == full
    assert len(kept) == 300_000
