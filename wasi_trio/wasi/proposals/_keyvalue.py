"""wasi:keyvalue 0.2.0-draft and 0.2.0-draft2: ``store``, ``atomics`` and ``batch``.

The versions differ in the types of cursors and counters. Only the second has compare-and-swap.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from wasi_trio.component._account import Account, Charge, OverBudget, as_size
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.keyvalue._bucket import MAX_BATCH, MAX_KEY, SIGNED, UNSIGNED, Bucket, Numbers, StoreError

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

#: the meaning of the empty identifier
DEFAULT = "default"
_MAX_CURSOR = (1 << 64) - 1


class KeyResponse(NamedTuple):
    keys: list[str]
    cursor: int | str | None


def _failed(error: StoreError) -> Variant:
    return Variant("other", str(error))


def _with_result(function: F) -> F:
    """Wrap a host function: return its result as ``Ok``, and a StoreError as ``Err``."""

    @functools.wraps(function)
    async def answer(*arguments: Any) -> Ok[Any] | Err[Any]:
        try:
            return Ok(await function(*arguments))
        except StoreError as error:
            return Err(_failed(error))

    return answer  # type: ignore[return-value]


class _Bucket:
    """A bucket that a guest has opened. Its pending operations are charged to the instance."""

    __slots__ = ("_account", "max_value", "store")

    def __init__(self, store: Bucket, max_value: int) -> None:
        self.store = store
        self.max_value = max_value
        self._account: Account | None = None

    def bill(self, account: Account) -> None:
        self._account = account

    def hold(self, key: str, value: bytes = b"") -> Charge | None:
        """Charge a key and a value while the result is referenced. Raises StoreError if they exceed a limit."""
        self.check(key, value)
        return self._charge(len(key) + len(value))

    def hold_many(self, keys: Sequence[str], values: Sequence[bytes] = ()) -> Charge | None:
        if len(keys) > MAX_BATCH:
            raise StoreError(f"a batch may have at most {MAX_BATCH} keys, but this one has {len(keys)}")
        for key in keys:
            self.check(key)
        for value in values:
            self.check("", value)
        return self._charge(sum(map(len, keys)) + sum(map(len, values)))

    def check(self, key: str, value: bytes = b"") -> None:
        if len(key) > MAX_KEY or (not key.isascii() and len(key.encode()) > MAX_KEY):
            raise StoreError(f"a key may have at most {MAX_KEY} bytes, but this one has {len(key.encode())}")
        if len(value) > self.max_value:
            raise StoreError(
                f"a value may have at most {as_size(self.max_value)}, but this one has {as_size(len(value))}"
            )

    def _charge(self, size: int) -> Charge | None:
        if self._account is None:
            return None
        try:
            return Charge(self._account, size)
        except OverBudget as error:
            raise StoreError(str(error)) from None

    @_with_result
    async def get(self, key: str) -> bytes | None:
        _held = self.hold(key)
        return await self.store.get(key)

    @_with_result
    async def set(self, key: str, value: bytes) -> None:
        _held = self.hold(key, value)
        await self.store.set(key, value)

    @_with_result
    async def delete(self, key: str) -> None:
        _held = self.hold(key)
        await self.store.delete(key)

    @_with_result
    async def exists(self, key: str) -> bool:
        _held = self.hold(key)
        return await self.store.exists(key)


class Store:
    """The interface wasi:keyvalue/store@0.2.0-draft. The empty identifier means ``default``."""

    class Bucket(_Bucket):
        """A bucket whose cursors are numbers."""

        __slots__ = ()

        @_with_result
        async def list_keys(self, cursor: int | None) -> KeyResponse:
            return KeyResponse(*await self.store.page(cursor or 0))

    def __init__(self, context: WasiContext) -> None:
        self._state = context.options.state

    def open(self, identifier: str) -> Ok[_Bucket] | Err[Variant]:
        """Return a handle of a bucket, or the error ``no-such-store`` for an unknown name."""
        found = self._state.buckets.get(identifier or DEFAULT)
        if found is None:
            return Err(Variant("no-such-store"))
        return Ok(self.Bucket(found, self._state.max_value))


class Draft2Store(Store):
    """The interface wasi:keyvalue/store@0.2.0-draft2."""

    class Bucket(_Bucket):
        """A bucket whose cursors are decimal numbers as text."""

        __slots__ = ()

        @_with_result
        async def list_keys(self, cursor: str | None) -> KeyResponse:
            keys, after = await self.store.page(0 if cursor is None else _cursor(cursor))
            return KeyResponse(keys, None if after is None else str(after))


def _cursor(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 20 and (number := int(text)) <= _MAX_CURSOR:
        return number
    raise StoreError("the cursor is invalid")


@_with_result
async def _increment(bucket: _Bucket, key: str, delta: int, numbers: Numbers) -> int:
    _held = bucket.hold(key)
    return await bucket.store.increment(key, delta, numbers)


class Atomics:
    """The interface wasi:keyvalue/atomics@0.2.0-draft."""

    def __init__(self, context: WasiContext) -> None:
        pass

    async def increment(self, bucket: _Bucket, key: str, delta: int) -> Any:
        return await _increment(bucket, key, delta, UNSIGNED)


class _Cas:
    """A value at one time. ``swap`` replaces it if it is unchanged."""

    __slots__ = ("_charge", "bucket", "key", "value")

    def __init__(self, bucket: _Bucket, key: str, value: bytes | None) -> None:
        self.bucket = bucket
        self.key = key
        self.value = value

    def bill(self, account: Account) -> None:
        """Charge the value while the guest holds this. Raises OverBudget."""
        self._charge = Charge(account, len(self.key) + len(self.value or b""))

    @staticmethod
    @_with_result
    async def new(bucket: _Bucket, key: str) -> _Cas:
        _held = bucket.hold(key)
        return _Cas(bucket, key, await bucket.store.get(key))

    def current(self) -> Ok[bytes | None]:
        return Ok(self.value)


class Draft2Atomics:
    """The interface wasi:keyvalue/atomics@0.2.0-draft2. ``swap`` compares values."""

    Cas = _Cas

    def __init__(self, context: WasiContext) -> None:
        pass

    async def increment(self, bucket: _Bucket, key: str, delta: int) -> Any:
        return await _increment(bucket, key, delta, SIGNED)

    async def swap(self, cas: _Cas, value: bytes) -> Ok[None] | Err[Variant]:
        """Swap the value, or return ``cas-failed`` with the current value if it has changed."""
        bucket = cas.bucket
        try:
            _held = bucket.hold(cas.key, value)
            swapped, present = await bucket.store.swap(cas.key, cas.value, value)
        except StoreError as error:
            return Err(Variant("store-error", _failed(error)))
        return Ok(None) if swapped else Err(Variant("cas-failed", _Cas(bucket, cas.key, present)))


class Batch:
    """The interface wasi:keyvalue/batch, which is the same in both versions."""

    def __init__(self, context: WasiContext) -> None:
        pass

    @_with_result
    async def get_many(self, bucket: _Bucket, keys: list[str]) -> list[tuple[str, bytes] | None]:
        _held = bucket.hold_many(keys)
        values = await bucket.store.get_many(keys)
        return [None if value is None else (key, value) for key, value in zip(keys, values, strict=True)]

    @_with_result
    async def set_many(self, bucket: _Bucket, key_values: list[tuple[str, bytes]]) -> None:
        _held = bucket.hold_many([key for key, _ in key_values], [value for _, value in key_values])
        await bucket.store.set_many(key_values)

    @_with_result
    async def delete_many(self, bucket: _Bucket, keys: list[str]) -> None:
        _held = bucket.hold_many(keys)
        await bucket.store.delete_many(keys)
