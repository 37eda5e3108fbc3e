"""Lists of numbers and bytes, which are moved as a whole rather than by element."""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Callable
from typing import Any

from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import F32, F64, S8, S16, S32, S64, U8, U16, U32, U64, Primitive, ValType
from wasi_trio.component.abi import _checks as checks
from wasi_trio.component.abi._layout import MAX_BYTE_LENGTH
from wasi_trio.component.abi._strings import require


@functools.cache
def bytes_loader(charge_from: int) -> Callable[[Context, int, int], bytes]:
    """Return the loader of one ``list<u8>``. It charges the call's budget for at least ``charge_from`` bytes."""

    def load_bytes(cx: Context, pointer: int, length: int) -> bytes:
        memory = cx.memory
        end = pointer + length
        if length > MAX_BYTE_LENGTH:
            raise Trap(f"list of {length} elements is longer than the Canonical ABI admits")
        if end > memory.size:
            require(memory, end, "list pointer/length out of bounds of memory")
        if length >= charge_from:
            cx.spend(length + 40)
        return memory.view[pointer:end].tobytes()

    return load_bytes


def store_bytes(cx: Context, pointer: int, data: bytes | memoryview) -> None:
    cx.memory.view[pointer : pointer + len(data)] = data


def _array_storer(type_: Primitive, code: str) -> Callable[[Context, int, Any], None]:
    # array converts a list faster than struct does, and its checks are as strict.
    def store(cx: Context, pointer: int, values: Any) -> None:
        try:
            numbers = array(code, values)
        except (TypeError, OverflowError) as error:
            raise _error(type_, values, error) from None
        data = numbers.tobytes()
        cx.memory.view[pointer : pointer + len(data)] = data

    return store


def _store_f32(cx: Context, pointer: int, values: Any) -> None:
    # array turns a number too large for a single into an infinity, but struct refuses it.
    try:
        struct.pack_into(f"<{len(values)}f", cx.memory.view, pointer, *values)
    except (struct.error, OverflowError) as error:
        raise _error(F32, values, error) from None


def _error(type_: Primitive, values: Any, error: Exception) -> Exception:
    return checks.number_error([type_] * len(values), list(values), error)


BULK_STORERS: dict[ValType, Callable[[Context, int, Any], None]] = {
    U8: store_bytes,
    S8: _array_storer(S8, "b"),
    S16: _array_storer(S16, "h"),
    U16: _array_storer(U16, "H"),
    S32: _array_storer(S32, "i"),
    U32: _array_storer(U32, "I"),
    S64: _array_storer(S64, "q"),
    U64: _array_storer(U64, "Q"),
    F32: _store_f32,
    F64: _array_storer(F64, "d"),
}
