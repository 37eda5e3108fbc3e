"""What a bucket can do, whatever keeps it, and the bounds that hold for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol

from wasi_trio.component._account import Budget

#: the most bytes of a key, in UTF-8
MAX_KEY: Final = 1024
#: the most bytes of a value, unless an embedder or the command line says otherwise
MAX_VALUE: Final = 1 << 20
#: the most keys of one page of a listing, and the bytes of keys after which it ends
PAGE: Final = 1000
PAGE_BYTES: Final = 256 << 10
#: the most keys of one batch, and the most bytes of the values that one gives
MAX_BATCH: Final = 1000
MAX_ANSWER: Final = 8 << 20
#: seconds that an operation may take, unless an embedder or the command line says otherwise
TIMEOUT: Final = 5.0

_decimal = re.compile(rb"-?[0-9]{1,20}").fullmatch


class StoreError(Exception):
    """An operation has failed. The guest is told the message, which names nothing of the host's."""


#: the messages of failures that all kinds of stores have
TOO_LATE: Final = "the store did not answer in time"
UNREACHABLE: Final = "the store cannot be reached"
NO_NUMBER: Final = "the value is not a whole number, or the sum is out of range"
TOO_MUCH: Final = f"the values are more than {MAX_ANSWER >> 20} MiB together"


class Page(NamedTuple):
    """Keys of a listing, and where to go on; None for the cursor where there are no more."""

    keys: list[str]
    cursor: int | None


class Numbers(NamedTuple):
    """The whole numbers that a counter may have."""

    least: int
    most: int


#: those of ``increment`` in wasi:keyvalue 0.2.0-draft and -draft2
UNSIGNED = Numbers(0, (1 << 64) - 1)
SIGNED = Numbers(-(1 << 63), (1 << 63) - 1)


class Bucket(Protocol):
    """Keys and values that are open. Everything raises StoreError, also when it takes longer than it may.

    Whoever calls has checked the sizes of keys and values. A cancelled operation may have been carried out.
    """

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def exists(self, key: str) -> bool: ...

    async def page(self, cursor: int) -> Page:
        """Keys from a cursor on, 0 for the first page. A key that is there all the time is in one of the pages."""

    async def increment(self, key: str, delta: int, numbers: Numbers) -> int:
        """Add to the number that a value is in decimal digits, none being 0; returns the sum."""

    async def swap(self, key: str, expected: bytes | None, value: bytes) -> tuple[bool, bytes | None]:
        """Set a value if the present one is ``expected``, None for none.

        Gives whether it was set, and the present value if it was not.
        """

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The value of each key. Refused where they come to more than ``MAX_ANSWER``."""

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None: ...

    async def delete_many(self, keys: Sequence[str]) -> None: ...


class Store(Protocol):
    """Where one bucket is kept, by any number of processes unless it is ``per_process``."""

    per_process: bool

    def check(self) -> None:
        """Raise ValueError, with one line without secrets, for what could never be opened."""

    def open(self, operation_timeout: float, budget: Budget | None = None) -> AbstractAsyncContextManager[Bucket]:
        """The bucket, open inside of the block. An operation takes up to ``operation_timeout`` seconds.

        Held memory counts in ``budget``. A store that is down is no error: operations say so.
        """


def number(value: bytes | None) -> int:
    """The number that a value is in decimal digits; none is 0. Raises StoreError."""
    if value is None:
        return 0
    if _decimal(value) is None:
        raise StoreError(NO_NUMBER)
    return int(value)


def added(value: bytes | None, delta: int, numbers: Numbers) -> int:
    """The sum of a value and a number. Raises StoreError where one of them is none that may be."""
    total = number(value) + delta
    if not numbers.least <= total <= numbers.most:
        raise StoreError(NO_NUMBER)
    return total
