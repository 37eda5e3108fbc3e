"""A bucket in the memory of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from wasi_trio.component._account import Budget, as_size
from wasi_trio.wasi.keyvalue._bucket import (
    MAX_BATCH_BYTES,
    PAGE,
    PAGE_BYTES,
    TOO_LARGE,
    Numbers,
    Page,
    StoreError,
    add,
)

#: default maximum bytes of a store
LIMIT: Final = 64 << 20
#: bytes of an entry in Python, in addition to its key and value
OVERHEAD: Final = 256
#: maximum slots that one page examines, because deleted keys leave vacant slots
_MAX_SLOTS: Final = 20 * PAGE


class _Entry(NamedTuple):
    slot: int
    value: bytes


class MemoryStore(MutableMapping[str, bytes]):
    """A bucket in memory that lives as long as this object, and a mapping of its keys to its values.

    ``limit`` bounds the bytes of keys and values, with ``OVERHEAD`` for each. Beyond it, operations of guests and of
    Python raise StoreError. Each process has its own.
    """

    per_process = True

    def __init__(self, values: Mapping[str, bytes] | None = None, *, limit: int = LIMIT) -> None:
        self.limit = limit
        #: bytes in use
        self.used = 0
        self._entries: dict[str, _Entry] = {}
        #: the key in each slot, or None after its deletion. A key keeps its slot, because cursors count slots.
        self._slots: list[str | None] = []
        self._vacant: list[int] = []
        self._budgets: list[Budget] = []
        for key, value in (values or {}).items():
            self[key] = value

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self)} keys>"

    def __getitem__(self, key: str) -> bytes:
        return self._entries[key].value

    def __setitem__(self, key: str, value: bytes) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            self._count(len(value) - len(entry.value))
            self._entries[key] = entry._replace(value=value)
            return
        self._count(len(key.encode()) + len(value) + OVERHEAD)
        if self._vacant:
            slot = self._vacant.pop()
            self._slots[slot] = key
        else:
            slot = len(self._slots)
            self._slots.append(key)
        self._entries[key] = _Entry(slot, value)

    def __delitem__(self, key: str) -> None:
        entry = self._entries.pop(key)
        self._count(-len(key.encode()) - len(entry.value) - OVERHEAD)
        self._slots[entry.slot] = None
        self._vacant.append(entry.slot)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _count(self, size: int) -> None:
        if size > 0 and self.used + size > self.limit:
            raise StoreError(f"the store is full: its limit is {as_size(self.limit)}")
        self.used += size
        for budget in self._budgets:
            budget.add(size)

    def page(self, cursor: int) -> Page:
        """Implement ``Bucket.page``."""
        keys: list[str] = []
        size = 0
        end = min(len(self._slots), cursor + _MAX_SLOTS)
        while cursor < end and len(keys) < PAGE and size < PAGE_BYTES:
            key = self._slots[cursor]
            cursor += 1
            if key is not None:
                keys.append(key)
                size += len(key)
        return Page(keys, cursor if cursor < len(self._slots) else None)

    def check(self) -> None:
        """Do nothing: a store in memory can always be opened."""

    @asynccontextmanager
    async def open(self, operation_timeout: float, budget: Budget | None = None) -> AsyncIterator[MemoryBucket]:
        """Open the bucket. The content of the store counts in ``budget`` within the block."""
        if budget is not None:
            budget.add(self.used)
            self._budgets.append(budget)
        try:
            yield MemoryBucket(self)
        finally:
            if budget is not None:
                self._budgets.remove(budget)
                budget.add(-self.used)


class MemoryBucket:
    """A bucket of a MemoryStore. Its operations do not wait."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    async def set(self, key: str, value: bytes) -> None:
        self._store[key] = value

    async def delete(self, key: str) -> None:
        self._store.pop(key, None)

    async def exists(self, key: str) -> bool:
        return key in self._store

    async def page(self, cursor: int) -> Page:
        return self._store.page(cursor)

    async def increment(self, key: str, delta: int, numbers: Numbers) -> int:
        total = add(self._store.get(key), delta, numbers)
        self._store[key] = b"%d" % total
        return total

    async def swap(self, key: str, expected: bytes | None, value: bytes) -> tuple[bool, bytes | None]:
        present = self._store.get(key)
        if present != expected:
            return False, present
        self._store[key] = value
        return True, None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        values = [self._store.get(key) for key in keys]
        if sum(len(value) for value in values if value is not None) > MAX_BATCH_BYTES:
            raise StoreError(TOO_LARGE)
        return values

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        for key, value in items:
            self._store[key] = value

    async def delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._store.pop(key, None)
