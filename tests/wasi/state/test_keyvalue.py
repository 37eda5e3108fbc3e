"""wasi:keyvalue from the guest's view, with all stores."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.wasi.state.state_guest import DRAFT, DRAFT2, bucket, instance_of
from tests.wasi.state.valkey import Valkey
from wasi_trio.component._errors import Trap
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._state import State
from wasi_trio.wasi.keyvalue._bucket import MAX_BATCH, MAX_KEY, NOT_A_NUMBER, PAGE, TOO_LARGE, Store
from wasi_trio.wasi.keyvalue._memory import MemoryStore
from wasi_trio.wasi.keyvalue._redis import RedisStore
from wasi_trio.wasi.keyvalue._sqlite import SqliteStore

BOTH = pytest.mark.parametrize("release", [DRAFT, DRAFT2])


@BOTH
async def test_values(engine: Engine, store: Store, release: str) -> None:
    async with bucket(engine, store, release) as opened:
        assert await opened("get", "a") is None
        assert await opened("exists", "a") is False
        assert await opened("set", "a", b"1\0\xff") is None
        assert await opened("get", "a") == b"1\0\xff"
        assert await opened("exists", "a") is True
        await opened("set", "a", b"")
        assert await opened("get", "a") == b""
        await opened("set", "schl\u00fcssel:*[x]?", b"2")
        assert await opened("get", "schl\u00fcssel:*[x]?") == b"2"
        await opened("set", "", b"3")
        assert await opened("get", "") == b"3"
        assert sorted(await opened.keys()) == ["", "a", "schl\u00fcssel:*[x]?"]
        assert await opened("delete", "a") is None
        assert await opened("delete", "a") is None
        assert await opened("get", "a") is None


async def test_values_outlive_the_instance(engine: Engine, store: Store) -> None:
    async with bucket(engine, store) as opened:
        await opened("set", "a", b"1")
    async with bucket(engine, store, DRAFT2) as opened:
        assert await opened("get", "a") == b"1"


@BOTH
async def test_batches(engine: Engine, store: Store, release: str) -> None:
    async with bucket(engine, store, release) as opened:
        assert await opened("set-many", [("a", b"1"), ("b", b""), ("a", b"2")]) is None
        assert await opened("get-many", ["b", "none", "a", "a"]) == [("b", b""), None, ("a", b"2"), ("a", b"2")]
        assert await opened("delete-many", ["a", "none"]) is None
        assert await opened("get-many", ["a", "b"]) == [None, ("b", b"")]
        assert await opened("get-many", []) == []
        assert await opened("set-many", []) is None
        assert await opened("delete-many", []) is None


async def test_counters(engine: Engine, store: Store) -> None:
    async with bucket(engine, store) as opened:
        assert await opened("increment", "n", 5) == 5
        assert await opened("increment", "n", 0) == 5
        assert await opened("increment", "n", 7) == 12
        assert await opened("get", "n") == b"12"
        await opened("set", "text", b"12 eggs")
        assert await opened("increment", "text", 1) == f"E:{NOT_A_NUMBER}"
        assert await opened("get", "text") == b"12 eggs"
        most = (1 << 63) - 1
        assert await opened("increment", "large", most) == most
        if not isinstance(store, RedisStore):  # its counters are signed
            assert await opened("increment", "large", most + 1) == (1 << 64) - 1
            assert await opened("increment", "large", 1) == f"E:{NOT_A_NUMBER}"
        assert await opened("increment", "large", (1 << 64) - 1) == f"E:{NOT_A_NUMBER}"


async def test_counters_with_a_sign(engine: Engine, store: Store) -> None:
    async with bucket(engine, store, DRAFT2) as opened:
        assert await opened("increment", "n", -5) == -5
        assert await opened("increment", "n", 2) == -3
        least = -(1 << 63)
        assert await opened("increment", "low", least) == least
        assert await opened("increment", "low", -1) == f"E:{NOT_A_NUMBER}"


async def test_compare_and_swap(engine: Engine, store: Store) -> None:
    async with bucket(engine, store, DRAFT2) as opened:
        guest = opened.guest
        first, second = await opened("cas-new", "a"), await opened("cas-new", "a")
        assert await guest("cas-current", first) is None
        assert await guest("swap", first, b"1") is None
        case, again = await guest("swap", second, b"2")
        assert case == "cas-failed"
        assert await guest("cas-current", again) == b"1"
        assert await guest("swap", again, b"2") is None
        assert await opened("get", "a") == b"2"
        third = await opened("cas-new", "a")
        await opened("delete", "a")
        case, gone = await guest("swap", third, b"3")
        assert case == "cas-failed"
        assert await guest("cas-current", gone) is None
        assert await guest("swap", gone, b"4") is None
        assert await opened("get", "a") == b"4"


async def test_no_increment_and_no_swap_is_lost_between_guests(engine: Engine, store: Store) -> None:
    """Several guests run concurrently. Each has its own instance, and so its own connection or thread."""
    guests, times = 4, 25

    async def count() -> None:
        async with bucket(engine, store, DRAFT2) as opened:
            for _ in range(times):
                await opened("increment", "n", 1)
                cas = await opened("cas-new", "swapped")
                while True:
                    now = int(await opened.guest("cas-current", cas) or b"0")
                    outcome = await opened.guest("swap", cas, b"%d" % (now + 1))
                    if outcome is None:
                        break
                    _, cas = outcome

    async with trio.open_nursery() as nursery:
        for _ in range(guests):
            nursery.start_soon(count)
    async with bucket(engine, store) as opened:
        assert await opened("get", "n") == b"%d" % (guests * times)
        assert await opened("get", "swapped") == b"%d" % (guests * times)


@BOTH
async def test_keys_come_in_pages(engine: Engine, store: Store, release: str) -> None:
    names = {f"key {number}" for number in range(2 * PAGE + 7)}
    async with bucket(engine, store, release) as opened:
        for start in range(0, len(names), MAX_BATCH):
            await opened("set-many", [(name, b"") for name in sorted(names)[start : start + MAX_BATCH]])
        pages: list[int] = []
        found = await opened.keys(pages)
        assert set(found) == names
        assert len(pages) >= 3
        assert max(pages) < 2 * PAGE
        # A persistent key appears in a page while others are added and removed.
        page = await opened("list-keys", None)
        gone = sorted(names)[::3]
        for start in range(0, len(gone), MAX_BATCH):
            await opened("delete-many", gone[start : start + MAX_BATCH])
        await opened("set", "new", b"")
        seen = set(page.keys)
        while page.cursor is not None:
            page = await opened("list-keys", page.cursor)
            seen |= set(page.keys)
        assert names - set(gone) <= seen


@BOTH
async def test_cursors_of_no_listing(engine: Engine, store: Store, release: str) -> None:
    async with bucket(engine, store, release) as opened:
        await opened("set", "a", b"")
        if release == DRAFT2:
            for cursor in ("", "-1", "x", "1" * 21, "18446744073709551616", "\u0661"):
                assert await opened("list-keys", cursor) == "E:the cursor is invalid"
        else:
            # Any number is a valid cursor.
            for number in (1, 1 << 40, 1 << 63, (1 << 64) - 1):
                assert len((await opened("list-keys", number)).keys) <= 1


async def test_sizes_are_bounded(engine: Engine, store: Store) -> None:
    async with bucket(engine, store, max_value=1000) as opened:
        assert await opened("set", "k" * MAX_KEY, b"v" * 1000) is None
        assert await opened("get", "k" * MAX_KEY) == b"v" * 1000
        long = f"E:a key may have at most {MAX_KEY} bytes, but this one has {MAX_KEY + 1}"
        assert await opened("set", "k" * (MAX_KEY + 1), b"") == long
        assert await opened("get", "\u00fc" * (MAX_KEY // 2) + "k") == long
        assert await opened("increment", "k" * (MAX_KEY + 1), 1) == long
        large = "E:a value may have at most 1000 bytes, but this one has 1001 bytes"
        assert await opened("set", "k", b"v" * 1001) == large
        assert await opened("set-many", [("a", b""), ("k", b"v" * 1001)]) == large
        many = f"E:a batch may have at most {MAX_BATCH} keys, but this one has {MAX_BATCH + 1}"
        assert await opened("get-many", ["k"] * (MAX_BATCH + 1)) == many
        assert await opened("delete-many", ["k"] * (MAX_BATCH + 1)) == many
        assert await opened("exists", "k") is False


async def test_batch_results_are_bounded(engine: Engine, store: Store) -> None:
    async with bucket(engine, store) as opened:
        await opened("set", "k", b"v" * (1 << 20))
        assert await opened("get-many", ["k"] * 9) == f"E:{TOO_LARGE}"
        for number in range(9):
            await opened("set", f"{number}", b"v" * (1 << 20))
        assert await opened("get-many", [f"{number}" for number in range(9)]) == f"E:{TOO_LARGE}"


async def test_buckets_by_name(engine: Engine) -> None:
    one, other = MemoryStore({"a": b"1"}), MemoryStore({"a": b"2"})
    state = State(keyvalue={"default": one, "other": other})
    async with instance_of(engine, DRAFT, ("wasi:keyvalue/store",), state) as guest:
        assert await guest("bucket-get", await guest("open", ""), "a") == b"1"
        assert await guest("bucket-get", await guest("open", "default"), "a") == b"1"
        assert await guest("bucket-get", await guest("open", "other"), "a") == b"2"
        assert await guest("open", "another") == "E:no-such-store"
        assert await guest("open", "../other") == "E:no-such-store"


async def test_a_bucket_is_one_of_its_kind(engine: Engine) -> None:
    """A guest must pass a real bucket."""
    async with bucket(engine, MemoryStore(), DRAFT2) as opened:
        cas = await opened("cas-new", "a")
        with pytest.raises(Trap, match="wrong type"):
            await opened.guest("bucket-get", cas, "a")


async def test_buckets_of_one_store_are_apart(engine: Engine, tmp_path: Path, shared_valkey: Valkey) -> None:
    path = str(tmp_path / "state.db")
    pairs = [
        (SqliteStore(path, "one"), SqliteStore(path, "two")),
        (shared_valkey.store("apart-one:"), shared_valkey.store("apart-two:")),
    ]
    for pair in pairs:
        for number, one in enumerate(pair):
            async with bucket(engine, one) as opened:
                await opened("set", "a", b"%d" % number)
        for number, one in enumerate(pair):
            async with bucket(engine, one) as opened:
                assert await opened("get", "a") == b"%d" % number
                assert await opened.keys() == ["a"]


async def test_a_store_with_keys_counts_as_memory_of_the_process(engine: Engine) -> None:
    before = engine.budget.used
    store = MemoryStore({"a": b"v" * 1000}, limit=5000)
    async with bucket(engine, store) as opened:
        held = engine.budget.used
        await opened("set", "b", b"v" * 1000)
        assert engine.budget.used - held >= 1000
        assert await opened("set", "c", b"v" * 4000) == "E:the store is full: its limit is 4.883 KiB"
        await opened("delete", "b")
        assert await opened("set", "c", b"v" * 3000) is None
        assert await opened("increment", "n", 1) == 1
    assert engine.budget.used == before
    assert set(store) == {"a", "c", "n"}


def test_places_of_a_memory_store_are_used_again() -> None:
    store = MemoryStore()
    for round in range(3):
        for number in range(1000):
            store[f"{round} {number}"] = b""
        store.clear()
    assert store.used == 0
    assert len(store._slots) == 1000
    assert store.page(0) == ([], None)


async def test_state_is_not_in_a_repr(engine: Engine) -> None:
    state = State(config={"password": "hunter2"}, keyvalue={"default": MemoryStore({"k": b"hunter2"})})
    assert "hunter2" not in repr(state)
    assert "hunter2" not in repr(state.keyvalue)
