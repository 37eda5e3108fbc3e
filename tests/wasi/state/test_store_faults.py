"""Stores that are down, locked, slow or broken: each operation ends, and the guest receives an error."""

from __future__ import annotations

import functools
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.wasi.state.state_guest import DRAFT2, Opened, bucket
from tests.wasi.state.valkey import Valkey
from wasi_trio.component._account import Account
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi.keyvalue._bucket import TOO_LATE, UNREACHABLE, Store, StoreError
from wasi_trio.wasi.keyvalue._redis import MAX_UNANSWERED, RedisStore
from wasi_trio.wasi.keyvalue._sqlite import READERS, SqliteStore, _Operation
from wasi_trio.wasi.proposals._keyvalue import _Bucket

#: a query without an end
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
LATE, AWAY = f"E:{TOO_LATE}", f"E:{UNREACHABLE}"
pytestmark = pytest.mark.usefixtures("patience")


@pytest.fixture
async def patience():  # type: ignore[no-untyped-def]
    """Make a hanging test fail."""
    with trio.fail_after(60):
        yield


@contextmanager
def locked(path: str) -> Iterator[sqlite3.Connection]:
    """Open a connection with an unfinished write transaction, like another process."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


async def back(opened: Opened, *call: Any) -> Any:
    """Return the first successful result. For a moment after a failed attempt to connect, all calls fail."""
    while True:
        answer = await opened(*call)
        if answer not in (LATE, AWAY):
            return answer
        await trio.sleep(0.01)


# ---- SQLite ----------------------------------------------------------------------------------------------


async def test_a_file_that_is_locked(engine: Engine, tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    async with bucket(engine, SqliteStore(path), timeout=2) as opened:
        await opened("set", "a", b"1")
        with locked(path):
            assert await opened("increment", "n", 1) == LATE
            assert await opened("get", "a") == b"1"  # readers do not wait for a writer
        assert await opened("increment", "n", 1) == 1


async def test_other_tasks_run_while_a_file_is_locked(engine: Engine, tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with bucket(engine, SqliteStore(path), timeout=0.3) as opened, trio.open_nursery() as nursery:
        await opened("set", "a", b"1")
        with locked(path):
            nursery.start_soon(count_turns)
            assert await opened("set", "a", b"2") == LATE
            nursery.cancel_scope.cancel()
    assert turns > 100


async def test_a_new_file_of_sqlite_may_be_opened_many_times_at_once(tmp_path: Path) -> None:
    """As by the workers of a server. SQLite refuses to change the kind of its log during that."""

    def connect(store: SqliteStore, together: threading.Barrier) -> None:
        together.wait()
        store.connect(30.0).close()

    for number in range(100):
        store, together = SqliteStore(str(tmp_path / str(number))), threading.Barrier(4)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(trio.to_thread.run_sync, connect, store, together)


async def test_cancelled_operations_of_sqlite_leave_nothing(tmp_path: Path) -> None:
    """Their threads end, stay within their limit, and return their connections."""
    path = str(tmp_path / "state.db")
    store = SqliteStore(path)
    async with store.open(0.5) as opened:
        await opened.set("a", b"1")
        with locked(path):
            for _ in range(20):
                with trio.move_on_after(0.01):
                    await opened.set("a", b"2")
        # The operation that holds the writer's place ends after the timeout of its lock.
        await opened.set("a", b"3")
        assert await opened.get("a") == b"3"
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(opened.get, "a")
        assert len(opened._connections._idle) <= READERS + 1
    assert opened._connections._idle == []


async def test_abandoned_queries_are_interrupted(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "state.db"))
    async with store.open(0.1) as opened:
        for _ in range(READERS):  # each would occupy a thread forever
            with pytest.raises(StoreError, match=TOO_LATE):
                await opened._read(lambda connection: connection.execute(ENDLESS).fetchone())
        for _ in range(READERS):  # an interrupted thread frees its place
            await opened._readers.acquire_on_behalf_of(object())
        opened._readers.total_tokens += READERS
        assert await opened.get("a") is None


@pytest.mark.parametrize("writes", [False, True])
async def test_a_query_abandoned_before_it_begins_is_interrupted(tmp_path: Path, writes: bool) -> None:
    async with SqliteStore(str(tmp_path / "state.db")).open(5) as opened:
        operation = _Operation(
            opened._connections, lambda connection: connection.execute(ENDLESS).fetchone(), writes=writes
        )
        operation.abandon()
        with pytest.raises(StoreError if writes else sqlite3.OperationalError):
            operation.run()
        await opened.set("a", b"1")  # the connection is usable


async def test_no_cursor_leaves_its_thread(tmp_path: Path) -> None:
    """In another thread its end would reset a statement that may be in use again."""
    async with SqliteStore(str(tmp_path / "state.db")).open(5) as opened:
        with pytest.raises(AssertionError):
            await opened._read(lambda connection: connection.execute("SELECT 1"))

        def fail(connection: sqlite3.Connection) -> None:
            for _ in connection.execute("SELECT 1"):
                raise StoreError("in the middle")

        with pytest.raises(StoreError, match="in the middle") as caught:
            await opened._read(fail)
        frames = [entry.frame.code.name for entry in caught.traceback]
        assert "fail" not in frames
        await opened.set("a", b"1")


async def test_a_file_that_is_broken(engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, and far from being one" * 100)
    with pytest.raises(ValueError, match=r"cannot use '.*state\.db' as a SQLite file: file is not a database"):
        SqliteStore(str(path)).check()
    async with bucket(engine, SqliteStore(str(path))) as opened:
        for _ in range(3):
            assert await opened("get", "a") == AWAY
    assert [record.getMessage() for record in caplog.records] == ["The bucket default failed: file is not a database"]


async def test_unwritable_files(tmp_path: Path) -> None:
    for path in (str(tmp_path), str(tmp_path / "none" / "state.db")):
        with pytest.raises(ValueError, match="as a SQLite file: unable to open database file"):
            SqliteStore(path).check()


async def test_a_disk_that_is_full(engine: Engine, tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "state.db"))
    async with store.open(5) as opened:
        await opened.set("a", b"1")
        for connection in opened._connections._idle:
            connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match="the store is full"):
            await opened.set("b", b"v" * 1_000_000)
        assert await opened.get("a") == b"1"
        assert await opened.get("b") is None
        await opened.set("c", b"3")


# ---- Redis -----------------------------------------------------------------------------------------------


async def test_a_server_that_is_away_and_comes_back(
    engine: Engine, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with bucket(engine, valkey.store(), DRAFT2) as opened:
        assert await opened("increment", "n", 1) == 1
        valkey.kill()
        for _ in range(20):
            assert await opened("increment", "n", 1) == AWAY
        valkey.start()
        assert await back(opened, "increment", "n", 1) == 2
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 2
    assert said[0].startswith((f"Cannot connect to the store at 127.0.0.1:{valkey.port}", "The store at"))
    assert said[1] == f"The store at 127.0.0.1:{valkey.port} is available again"


async def test_a_server_that_was_away_from_the_start(engine: Engine, valkey: Valkey) -> None:
    valkey.kill()
    async with bucket(engine, valkey.store()) as opened:
        assert await opened("get", "a") == AWAY
        valkey.start()
        assert await back(opened, "set", "a", b"1") is None
        assert await opened("get", "a") == b"1"


async def test_a_server_that_stands_still(engine: Engine, valkey: Valkey) -> None:
    async with bucket(engine, valkey.store(), timeout=0.3) as opened:
        await opened("set", "a", b"1")
        valkey.signal(signal.SIGSTOP)
        assert await opened("get", "a") == LATE
        assert await opened("get", "a") in (LATE, AWAY)  # timed out while reconnecting, or failed at once
        valkey.signal(signal.SIGCONT)
        assert await back(opened, "get", "a") == b"1"


async def test_those_that_leave_while_it_connects_take_nothing_with_them(valkey: Valkey) -> None:
    valkey.kill()
    with socket.socket() as silent:  # connections to it wait forever
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", valkey.port))
        silent.listen(128)
        async with valkey.store().open(0.5) as opened:
            for _ in range(200):
                with trio.move_on_after(0.001):
                    await opened.get("a")
            with pytest.raises(StoreError):
                await opened.get("a")
            silent.close()
            valkey.start()
            while True:
                try:
                    assert await opened.get("a") is None
                    break
                except StoreError:
                    await trio.sleep(0.01)


async def test_late_replies_are_discarded(valkey: Valkey) -> None:
    async with valkey.store().open(5) as opened:
        for number in range(50):
            await opened.set(f"{number}", b"%d" % number)
        for number in range(50):
            with trio.CancelScope() as scope:
                scope.cancel()
                await opened.get(f"{number}")
            assert await opened.get(f"{49 - number}") == b"%d" % (49 - number)


async def test_data_of_cancelled_operations_is_bounded(valkey: Valkey) -> None:
    """While the server is suspended, clients come and go, each with a value."""
    async with valkey.store().open(30) as opened:
        await opened.set("a", b"1")
        first = opened._connection
        assert first is not None
        valkey.signal(signal.SIGSTOP)
        most = 0
        value = b"v" * (1 << 20)
        while first.usable:
            with trio.move_on_after(0.001):
                await opened.set("a", value)
            most = max(most, opened._unanswered)
            assert most <= MAX_UNANSWERED + 2 * len(value)
        valkey.signal(signal.SIGCONT)


async def test_a_wrong_password_is_not_disclosed(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Valkey(tmp_path, "--requirepass", "hunter2")
    try:
        async with bucket(engine, server.store(password="hunter2")) as opened:
            assert await opened("set", "a", b"1") is None
        for wrong in (server.store(password="swordfish"), server.store()):
            async with bucket(engine, wrong) as opened:
                answer = await opened("get", "a")
                assert answer == AWAY
        assert "Cannot connect to the store at" in caplog.text
        assert "swordfish" not in caplog.text + repr(server.store(password="swordfish"))
    finally:
        server.kill()


async def test_refusals_are_logged_without_the_server_s_text(
    engine: Engine, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    valkey.ask("LPUSH", "default:list", "x")
    async with bucket(engine, valkey.store()) as opened:
        for _ in range(3):
            assert await opened("get", "list") == "E:the store refuses the operation"
        valkey.ask("CONFIG", "SET", "maxmemory", "1")
        assert await opened("set", "a", b"hunter2") == "E:the store is full"
    assert "hunter2" not in caplog.text
    assert len([record for record in caplog.records if "refused" in record.getMessage()]) == 1


async def test_a_server_other_than_redis(engine: Engine) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with bucket(engine, RedisStore("127.0.0.1", port), timeout=0.5) as opened:
            assert await opened("get", "a") in (AWAY, LATE)
        nursery.cancel_scope.cancel()


async def test_other_programs_keys_are_left_alone(engine: Engine, valkey: Valkey) -> None:
    valkey.ask("SET", "foreign", "1")
    valkey.ask("SET", b"default:\xff\xfe", "1")
    async with bucket(engine, valkey.store()) as opened:
        await opened("set", "a", b"1")
        assert await opened.keys() == ["a"]
        assert await opened("get", "foreign") is None
    assert b"$1\r\n1" in valkey.ask("GET", "default:a")


# ---- all stores ------------------------------------------------------------------------------------------


async def test_pending_operations_are_charged_to_the_instance(valkey: Valkey) -> None:
    account = Account(limit=3_000_000)
    async with valkey.store().open(30) as store, trio.open_nursery() as nursery:
        opened = _Bucket(store, 1 << 20)
        opened.bill(account)
        await opened.set("a", b"v" * (1 << 20))
        assert account.used == 0
        valkey.signal(signal.SIGSTOP)
        for _ in range(2):
            nursery.start_soon(opened.set, "a", b"v" * (1 << 20))
        await trio.testing.wait_all_tasks_blocked()
        assert account.used > 2 << 20
        refused = await opened.set("a", b"v" * (1 << 20))
        assert "at most 2.861 MiB" in refused.value.value
        valkey.signal(signal.SIGCONT)
    assert account.used == 0


async def test_closing_with_operations_under_way(store: Store) -> None:
    async with trio.open_nursery() as nursery, store.open(5) as opened:
        for number in range(20):
            nursery.start_soon(opened.set, f"{number}", b"")
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
