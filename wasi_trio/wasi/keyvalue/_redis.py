"""A bucket in Redis or Valkey: keys with a prefix, over one connection for all guests of the process.

coredis implements the protocol. Its connection pool is unsuitable: if a task is cancelled while the pool connects for
it, the pool loses one of its places. After the last one, it waits forever. Here one task connects, and waiting tasks
can be cancelled.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from wasi_trio._texts import get_logger
from wasi_trio.component._account import Budget
from wasi_trio.wasi.keyvalue._bucket import (
    MAX_BATCH_BYTES,
    NOT_A_NUMBER,
    PAGE,
    SIGNED,
    TOO_LARGE,
    TOO_LATE,
    UNREACHABLE,
    Numbers,
    Page,
    StoreError,
)

if TYPE_CHECKING:
    from coredis.connection import TCPConnection

logger = get_logger("wasi_trio.wasi")

#: seconds after a failed attempt to connect during which all operations fail at once
PAUSE: Final = 0.1
#: maximum bytes of cancelled operations without a reply; beyond that the connection is closed
MAX_UNANSWERED: Final = 8 << 20
#: bytes that an operation counts in addition to its keys and values
_OVERHEAD: Final = 512
#: maximum SCAN calls for one page, because a reply may contain only keys outside of the bucket
_MAX_SCANS: Final = 20

# Both scripts are atomic, because the server executes nothing else meanwhile.
_SWAP: Final = """
local present = redis.call('GET', KEYS[1])
if (ARGV[1] == '1' and present == ARGV[2]) or (ARGV[1] == '0' and not present) then
  redis.call('SET', KEYS[1], ARGV[3])
  return {1}
end
return {0, present}
"""
_GET_MANY: Final = """
local size = 0
for _, key in ipairs(KEYS) do
  size = size + redis.call('STRLEN', key)
end
if size > tonumber(ARGV[1]) then
  return false
end
return redis.call('MGET', unpack(KEYS))
"""


@dataclass(frozen=True, slots=True)
class RedisStore:
    """A bucket of the keys with ``prefix`` in the database ``database`` of a server."""

    host: str
    port: int = 6379
    database: int = 0
    prefix: str = "default:"
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    per_process = False

    def check(self) -> None:
        """Do nothing: a server that is down may come up."""

    def connection(self, operation_timeout: float) -> TCPConnection:
        """Return a connection of coredis that is not yet established."""
        from coredis.connection import TCPConnection, TCPLocation

        _silence_coredis()
        return TCPConnection(
            TCPLocation(self.host, self.port),
            username=self.username,
            password=self.password,
            db=self.database,
            ssl_context=ssl.create_default_context() if self.tls else None,
            connect_timeout=operation_timeout,
            # No timeout for commands: the timeout of the attempt covers those of the handshake.
        )

    @asynccontextmanager
    async def open(self, operation_timeout: float, budget: Budget | None = None) -> AsyncIterator[RedisBucket]:
        """Open the bucket. The first operation establishes the connection."""
        async with trio.open_nursery() as nursery:
            bucket = RedisBucket(self, operation_timeout)
            nursery.start_soon(bucket.keep_connected)
            yield bucket
            nursery.cancel_scope.cancel()


def _silence_coredis() -> None:
    """Suppress coredis's log of each failed attempt to connect. This module logs failures."""
    theirs = logging.getLogger("coredis")
    if theirs.level == logging.NOTSET:
        theirs.setLevel(logging.CRITICAL)


class RedisBucket:
    """An open bucket of a RedisStore."""

    def __init__(self, store: RedisStore, operation_timeout: float) -> None:
        self._store = store
        self._operation_timeout = operation_timeout
        self._connection: TCPConnection | None = None
        #: set by an operation that requires a connection
        self._wanted = trio.Event()
        #: set after each attempt to connect
        self._settled = trio.Event()
        self._not_before = 0.0
        self._unanswered = 0
        self._down = False
        #: the kinds of refusals that were logged
        self._logged: set[str] = set()

    # ---- the connection ----------------------------------------------------------------------------------

    async def keep_connected(self) -> None:
        """Connect whenever an operation requires a connection and none exists."""
        while True:
            await self._wanted.wait()
            try:
                await self._connect_once()
            except* Exception as group:  # from closing a connection that is already lost
                logger.info("The connection to the store at %s:%d ended: %s", *self._address, _describe(group))
            finally:
                self._connection = None

    async def _connect_once(self) -> None:
        async with trio.open_nursery() as nursery:
            connection = self._store.connection(self._operation_timeout)
            try:
                with trio.fail_after(self._operation_timeout):
                    await nursery.start(connection.run)
                self._connected(connection)
            except Exception as error:  # coredis may raise any exception if the server is not a Redis
                self._failed(error)
                nursery.cancel_scope.cancel()

    def _connected(self, connection: TCPConnection) -> None:
        self._connection = connection
        self._unanswered = 0
        self._logged.clear()
        if self._down:
            logger.warning("The store at %s:%d is available again", *self._address)
        self._down = False
        self._settle()

    def _failed(self, error: Exception) -> None:
        self._not_before = trio.current_time() + PAUSE
        if not self._down:
            logger.warning("Cannot connect to the store at %s:%d: %s", *self._address, _describe(error))
        self._down = True
        self._settle()

    def _settle(self) -> None:
        self._wanted = trio.Event()
        settled, self._settled = self._settled, trio.Event()
        settled.set()

    @property
    def _address(self) -> tuple[str, int]:
        return self._store.host, self._store.port

    async def _ensure_connected(self) -> TCPConnection:
        """Return the connection, and establish it if necessary. Raises StoreError."""
        connection = self._connection
        if connection is not None and connection.usable:
            return connection
        if trio.current_time() >= self._not_before:
            settled = self._settled
            self._wanted.set()
            await settled.wait()
            connection = self._connection
            if connection is not None and connection.usable:
                return connection
        raise StoreError(UNREACHABLE)

    async def _execute(self, command: bytes, *arguments: str | bytes | int, size: int = 0) -> Any:
        """Return the reply to a command whose keys and values have ``size`` bytes."""
        from anyio import BrokenResourceError, ClosedResourceError
        from coredis.exceptions import RedisError, ResponseError

        connection: TCPConnection | None = None
        answered = False
        scope = trio.move_on_after(self._operation_timeout)
        try:
            with scope:
                connection = await self._ensure_connected()
                answer = await connection.create_request(command, *arguments)
                answered = True
                # Replies arrive in order, so all earlier commands have their replies.
                self._unanswered = 0
                return answer
        except ResponseError as error:
            answered = True
            raise self._refusal(error) from None
        except (RedisError, OSError, BrokenResourceError, ClosedResourceError) as error:
            answered = True
            if not self._down:
                logger.warning("The store at %s:%d failed: %s", *self._address, _describe(error))
            self._down = True
            raise StoreError(UNREACHABLE) from None
        finally:
            if not answered and connection is not None:
                self._record_unanswered(connection, scope, size)
        raise StoreError(TOO_LATE)

    def _record_unanswered(self, connection: TCPConnection, scope: trio.CancelScope, size: int) -> None:
        """Record that an operation has ended without its reply."""
        self._unanswered += size + _OVERHEAD
        if scope.cancelled_caught or self._unanswered > MAX_UNANSWERED:
            # Replies to later commands would also be late.
            connection.invalidate()

    def _refusal(self, error: Exception) -> StoreError:
        text = str(error)
        if "integer or out of range" in text or "overflow" in text:
            return StoreError(NOT_A_NUMBER)
        if "maxmemory" in text:
            return StoreError("the store is full")
        kind = type(error).__name__  # not its text, which may repeat a value
        if kind not in self._logged:
            self._logged.add(kind)
            logger.warning("The store at %s:%d refused an operation: %s", *self._address, kind)
        return StoreError("the store refuses the operation")

    # ---- the bucket --------------------------------------------------------------------------------------

    def _key(self, key: str) -> str:
        return self._store.prefix + key

    async def get(self, key: str) -> bytes | None:
        answer: bytes | None = await self._execute(b"GET", self._key(key), size=len(key))
        return answer

    async def set(self, key: str, value: bytes) -> None:
        await self._execute(b"SET", self._key(key), value, size=len(key) + len(value))

    async def delete(self, key: str) -> None:
        await self._execute(b"DEL", self._key(key), size=len(key))

    async def exists(self, key: str) -> bool:
        return bool(await self._execute(b"EXISTS", self._key(key), size=len(key)))

    async def page(self, cursor: int) -> Page:
        """Return a page. Its cursors are those of SCAN, which may return a key twice."""
        keys: list[str] = []
        for _ in range(_MAX_SCANS):
            answer = await self._execute(b"SCAN", cursor, b"MATCH", f"{self._store.prefix}*", b"COUNT", PAGE)
            cursor = int(answer[0])
            for key in answer[1]:
                try:
                    keys.append(key.decode()[len(self._store.prefix) :])
                except UnicodeDecodeError:
                    continue  # a key of another program
            if keys or not cursor:
                break
        return Page(keys, cursor or None)

    async def increment(self, key: str, delta: int, numbers: Numbers) -> int:
        """Increment with INCRBY. Its signed 64-bit numbers cover half the range of an unsigned counter."""
        if not SIGNED.least <= delta <= SIGNED.most:
            raise StoreError(NOT_A_NUMBER)
        total = int(await self._execute(b"INCRBY", self._key(key), delta, size=len(key)))
        if total < numbers.least:
            raise StoreError(NOT_A_NUMBER)
        return total

    async def swap(self, key: str, expected: bytes | None, value: bytes) -> tuple[bool, bytes | None]:
        known = (1, expected) if expected is not None else (0, b"")
        size = len(key) + len(known[1]) + len(value)
        swapped, *present = await self._execute(b"EVAL", _SWAP, 1, self._key(key), *known, value, size=size)
        return bool(swapped), present[0] if present else None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        names = map(self._key, keys)
        values: list[bytes | None] | None = await self._execute(
            b"EVAL", _GET_MANY, len(keys), *names, MAX_BATCH_BYTES, size=sum(map(len, keys))
        )
        if values is None:
            raise StoreError(TOO_LARGE)
        return values

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        if items:
            flat = [part for key, value in items for part in (self._key(key), value)]
            await self._execute(b"MSET", *flat, size=sum(map(len, flat)))

    async def delete_many(self, keys: Sequence[str]) -> None:
        if keys:
            await self._execute(b"DEL", *map(self._key, keys), size=sum(map(len, keys)))


def _describe(error: BaseException) -> str:
    """Describe an error by its innermost cause, without messages of servers, which may repeat a value."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, BaseExceptionGroup):
        return _describe(error.exceptions[0])
    return type(error).__name__
