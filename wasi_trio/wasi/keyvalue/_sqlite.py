"""A bucket in a SQLite file, which any number of processes of one machine may share.

Each operation is a transaction in a thread. A few threads read at once, and one writes. The file uses a write-ahead
log, so readers and the writer do not block each other. Each connection is used by one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from wasi_trio._texts import get_logger
from wasi_trio.component._account import Budget
from wasi_trio.wasi._threads import in_thread
from wasi_trio.wasi.keyvalue._bucket import (
    MAX_BATCH_BYTES,
    PAGE,
    PAGE_BYTES,
    TOO_LARGE,
    TOO_LATE,
    UNREACHABLE,
    Numbers,
    Page,
    StoreError,
    add,
)

T = TypeVar("T")

logger = get_logger("wasi_trio.wasi")

#: maximum threads that read at once
READERS: Final = 4
#: instructions of SQLite between two looks at whether an operation is abandoned: less than 1 ms
_PROGRESS_INSTRUCTIONS: Final = 10_000
#: maximum keys of one SELECT of a batch
_KEYS_PER_SELECT: Final = 100
#: The key precedes the value in the table, so that listing keys reads no values. A cursor is an id, which AUTOINCREMENT
#: never reuses.
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS wasi_keyvalue (
        id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS wasi_keyvalue_keys ON wasi_keyvalue (bucket, key);
    CREATE INDEX IF NOT EXISTS wasi_keyvalue_pages ON wasi_keyvalue (bucket, id);
"""
_SET: Final = (
    "INSERT INTO wasi_keyvalue (bucket, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value"
)
_GET: Final = "SELECT value FROM wasi_keyvalue WHERE bucket = ? AND key = ?"
_DELETE: Final = "DELETE FROM wasi_keyvalue WHERE bucket = ? AND key = ?"
_LIST: Final = "SELECT id, key FROM wasi_keyvalue WHERE bucket = ? AND id > ? ORDER BY id LIMIT ?"
#: seconds between two attempts to use the write-ahead log while another connection begins to
_RETRY_INTERVAL: Final = 0.002
#: the largest id
_LAST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """The bucket ``bucket`` in the file ``path``, which is created if it is missing."""

    path: str
    bucket: str = "default"

    per_process = False

    def connect(self, operation_timeout: float) -> sqlite3.Connection:
        """Open a connection that waits at most ``operation_timeout`` seconds for a lock. Raises sqlite3.Error."""
        # Connections move between threads, but only one thread uses a connection at a time.
        connection = sqlite3.connect(
            self.path, timeout=operation_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _use_log(connection, operation_timeout)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """Create the file if it is missing. Raises ValueError if it is not writable."""
        try:
            connection = self.connect(1.0)
            try:
                with _transaction(connection):
                    pass
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise ValueError(f"cannot use {self.path!r} as a SQLite file: {error}") from None
        if not os.access(self.path, os.W_OK):
            raise ValueError(f"cannot use {self.path!r} as a SQLite file: it is not writable")

    @asynccontextmanager
    async def open(self, operation_timeout: float, budget: Budget | None = None) -> AsyncIterator[SqliteBucket]:
        connections = _Connections(self, operation_timeout)
        try:
            yield SqliteBucket(self, connections, operation_timeout)
        finally:
            # The last connection to close merges the log into the file, which may take long.
            with trio.move_on_after(operation_timeout, shield=True):
                await trio.to_thread.run_sync(connections.close, abandon_on_cancel=True)


class _Connections:
    """Idle connections. Usable from any thread."""

    def __init__(self, store: SqliteStore, operation_timeout: float) -> None:
        self._store = store
        self._operation_timeout = operation_timeout
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def take(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._store.connect(self._operation_timeout)

    def give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close all idle connections. ``give_back`` closes a connection that an abandoned thread still uses."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class _Operation:
    """An operation in a thread, which can be abandoned."""

    def __init__(
        self, connections: _Connections, function: Callable[[sqlite3.Connection], object], *, writes: bool
    ) -> None:
        self._connections = connections
        self._function = function
        self._writes = writes
        self._abandoned = False

    def run(self) -> object:
        connection = self._connections.take()
        usable = True
        try:
            connection.set_progress_handler(self._is_abandoned, _PROGRESS_INSTRUCTIONS)
            result = self._transact(connection) if self._writes else self._function(connection)
            # A cursor collected in another thread resets its statement, which may be in use again.
            assert not isinstance(result, sqlite3.Cursor)
            return result
        except BaseException as error:
            # These errors are transient: the file was locked or full, or the operation interrupted.
            usable = isinstance(error, StoreError | sqlite3.OperationalError)
            # The frames of the traceback hold cursors.
            raise error.with_traceback(None) from None
        finally:
            if usable:
                connection.set_progress_handler(None, 0)
                self._connections.give_back(connection)
            else:
                connection.close()

    def _transact(self, connection: sqlite3.Connection) -> object:
        with _transaction(connection):
            # The guest may have received a timeout and continued with other operations.
            self._check_wanted()
            result = self._function(connection)
            self._check_wanted()
            return result

    def _check_wanted(self) -> None:
        if self._abandoned:
            raise StoreError(TOO_LATE)

    def _is_abandoned(self) -> bool:
        return self._abandoned

    def abandon(self) -> None:
        """Interrupt the operation, because no task waits for it. Has no effect after its end."""
        # Connection.interrupt() has no effect on a statement that the thread is about to begin.
        self._abandoned = True


class SqliteBucket:
    """An open bucket of a SqliteStore."""

    def __init__(self, store: SqliteStore, connections: _Connections, operation_timeout: float) -> None:
        self._bucket = store.bucket
        self._connections = connections
        self._operation_timeout = operation_timeout
        self._readers = trio.CapacityLimiter(READERS)
        self._writer = trio.CapacityLimiter(1)
        self._has_failed = False

    async def _run(self, function: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        work = _Operation(self._connections, function, writes=writes)
        limiter = self._writer if writes else self._readers
        try:
            with trio.move_on_after(self._operation_timeout):
                result = await in_thread(work.run, limiter)
                self._has_failed = False
                return result  # type: ignore[return-value]
        except sqlite3.Error as error:
            raise self._failure(error) from None
        finally:
            work.abandon()
        raise StoreError(TOO_LATE)

    def _failure(self, error: sqlite3.Error) -> StoreError:
        if error.sqlite_errorname in ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT"):
            return StoreError(TOO_LATE)
        if not self._has_failed:
            self._has_failed = True
            logger.warning("The bucket %s failed: %s", self._bucket, error)
        return StoreError("the store is full" if error.sqlite_errorname == "SQLITE_FULL" else UNREACHABLE)

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(function, writes=False)

    async def _write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(function, writes=True)

    def _value(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        row = connection.execute(_GET, (self._bucket, key)).fetchone()
        return None if row is None else row[0]

    async def get(self, key: str) -> bytes | None:
        return await self._read(lambda connection: self._value(connection, key))

    async def set(self, key: str, value: bytes) -> None:
        await self.set_many([(key, value)])

    async def delete(self, key: str) -> None:
        await self.delete_many([key])

    async def exists(self, key: str) -> bool:
        def exists(connection: sqlite3.Connection) -> bool:
            query = "SELECT 1 FROM wasi_keyvalue WHERE bucket = ? AND key = ?"
            return connection.execute(query, (self._bucket, key)).fetchone() is not None

        return await self._read(exists)

    async def page(self, cursor: int) -> Page:
        """Return a page. Its cursors are ids of rows."""
        if cursor > _LAST:
            return Page([], None)

        def page(connection: sqlite3.Connection) -> Page:
            keys: list[str] = []
            size, last = 0, cursor
            for last, key in connection.execute(_LIST, (self._bucket, cursor, PAGE)):
                keys.append(key)
                size += len(key)
                if size >= PAGE_BYTES:
                    return Page(keys, last)
            return Page(keys, last if len(keys) == PAGE else None)

        return await self._read(page)

    async def increment(self, key: str, delta: int, numbers: Numbers) -> int:
        def increment(connection: sqlite3.Connection) -> int:
            total = add(self._value(connection, key), delta, numbers)
            connection.execute(_SET, (self._bucket, key, b"%d" % total))
            return total

        return await self._write(increment)

    async def swap(self, key: str, expected: bytes | None, value: bytes) -> tuple[bool, bytes | None]:
        def swap(connection: sqlite3.Connection) -> tuple[bool, bytes | None]:
            present = self._value(connection, key)
            if present != expected:
                return False, present
            connection.execute(_SET, (self._bucket, key, value))
            return True, None

        return await self._write(swap)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        def get_many(connection: sqlite3.Connection) -> list[bytes | None]:
            found: dict[str, bytes] = {}
            size = 0
            wanted = list(dict.fromkeys(keys))
            for start in range(0, len(wanted), _KEYS_PER_SELECT):
                part = wanted[start : start + _KEYS_PER_SELECT]
                query = (
                    f"SELECT key, value FROM wasi_keyvalue WHERE bucket = ? AND key IN ({','.join('?' * len(part))})"
                )
                for key, value in connection.execute(query, (self._bucket, *part)):
                    size += len(value)
                    if size > MAX_BATCH_BYTES:
                        raise StoreError(TOO_LARGE)
                    found[key] = value
            values = [found.get(key) for key in keys]
            if sum(len(value) for value in values if value is not None) > MAX_BATCH_BYTES:
                raise StoreError(TOO_LARGE)
            return values

        return await self._read(get_many)

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._write_all(_SET, [(self._bucket, key, value) for key, value in items])

    async def delete_many(self, keys: Sequence[str]) -> None:
        await self._write_all(_DELETE, [(self._bucket, key) for key in keys])

    async def _write_all(self, statement: str, rows: Sequence[tuple[str | bytes, ...]]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(statement, rows)

        await self._write(write)


def _use_log(connection: sqlite3.Connection, operation_timeout: float) -> None:
    """Use SQLite's write-ahead log. The connection's own timeout does not apply to this, so try again here."""
    end = time.monotonic() + operation_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= end:
                raise
        time.sleep(_RETRY_INTERVAL)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a transaction, which holds the write lock from the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
