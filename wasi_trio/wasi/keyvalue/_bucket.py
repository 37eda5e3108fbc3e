"""The interface of buckets and stores, and the limits of all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol

from wasi_trio.component._account import Budget

#: maximum bytes of a key in UTF-8
MAX_KEY: Final = 1024
#: default maximum bytes of a value
MAX_VALUE: Final = 1 << 20
#: maximum keys of one page, and the bytes of keys that end a page
PAGE: Final = 1000
PAGE_BYTES: Final = 256 << 10
#: maximum keys of one batch, and maximum bytes of the values that one batch returns
MAX_BATCH: Final = 1000
MAX_BATCH_BYTES: Final = 8 << 20
#: default maximum seconds of an operation
TIMEOUT: Final = 5.0

_decimal = re.compile(rb"-?[0-9]{1,20}").fullmatch


class StoreError(Exception):
    """An operation failed. Guests see the message, so it contains no details of the host."""


#: messages of failures that all stores have
TOO_LATE: Final = "the store did not answer in time"
UNREACHABLE: Final = "the store cannot be reached"
NOT_A_NUMBER: Final = "the value is not a whole number, or the sum is out of range"
TOO_LARGE: Final = f"the values exceed {MAX_BATCH_BYTES >> 20} MiB together"


class Page(NamedTuple):
    """Keys of a listing, and the cursor of the next page, or None for the last page."""

    keys: list[str]
    cursor: int | None


class Numbers(NamedTuple):
    """The range of a counter."""

    least: int
    most: int


#: the ranges of ``increment`` in wasi:keyvalue 0.2.0-draft and -draft2
UNSIGNED = Numbers(0, (1 << 64) - 1)
SIGNED = Numbers(-(1 << 63), (1 << 63) - 1)


class Bucket(Protocol):
    """An open bucket. All operations raise StoreError for failures and timeouts.

    The caller must check the sizes of keys and values. A cancelled operation may have been carried out.
    """

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def exists(self, key: str) -> bool: ...

    async def page(self, cursor: int) -> Page:
        """Return keys from a cursor on, or from the start for 0. All pages together contain each key that persists."""

    async def increment(self, key: str, delta: int, numbers: Numbers) -> int:
        """Add to the decimal number in a value, or to 0 without a value, and return the sum."""

    async def swap(self, key: str, expected: bytes | None, value: bytes) -> tuple[bool, bytes | None]:
        """Set a value if the current one is ``expected``, which may be None for no value.

        Return whether the value was set, and the current value if it was not.
        """

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key. Fails if they exceed ``MAX_BATCH_BYTES`` bytes."""

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None: ...

    async def delete_many(self, keys: Sequence[str]) -> None: ...


class Store(Protocol):
    """The storage of one bucket. Processes share it unless it is ``per_process``."""

    per_process: bool

    def check(self) -> None:
        """Raise ValueError if the store can never be opened. The message is one line without secrets."""

    def open(self, operation_timeout: float, budget: Budget | None = None) -> AbstractAsyncContextManager[Bucket]:
        """Open the bucket within the block. An operation takes at most ``operation_timeout`` seconds.

        Memory of the store counts in ``budget``. A store that is down is not an error here: its operations fail.
        """


def parse_number(value: bytes | None) -> int:
    """Return the decimal number in a value, or 0 without a value. Raises StoreError."""
    if value is None:
        return 0
    if _decimal(value) is None:
        raise StoreError(NOT_A_NUMBER)
    return int(value)


def add(value: bytes | None, delta: int, numbers: Numbers) -> int:
    """Return the sum of a value and a number.

    Raises StoreError if the value is not a number or the sum out of range.
    """
    total = parse_number(value) + delta
    if not numbers.least <= total <= numbers.most:
        raise StoreError(NOT_A_NUMBER)
    return total
