"""Strings in a guest's memory (``load_string_from_range`` and ``store_string_into_range`` of the Canonical ABI).

Lowering makes one allocation of the exact size. The specification's growing and shrinking reallocations exist
for hosts that transcode as they copy; here Python's codecs have made the bytes, and so their number, beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wasi_trio.component.abi.checks import mismatch
from wasi_trio.component.abi.layout import MAX_BYTE_LENGTH
from wasi_trio.component.context import Context, Memory
from wasi_trio.component.definitions import StringEncoding
from wasi_trio.component.errors import Trap
from wasi_trio.component.types import STRING

#: in latin1+utf16, the bit of a length that says that it counts UTF-16 code units
UTF16_TAG = 2**31


def load_utf8(memory: Memory, pointer: int, length: int) -> str:
    end = pointer + length
    if length > MAX_BYTE_LENGTH or end > memory.size:
        _require(memory, length, end)
    try:
        return str(memory.view[pointer:end], "utf-8")
    except UnicodeDecodeError as error:
        raise Trap(f"invalid utf-8 sequence: {error.reason} at byte {error.start}") from None


def load_utf16(memory: Memory, pointer: int, code_units: int) -> str:
    if pointer & 1:
        raise Trap("string pointer not aligned to 2")
    length = 2 * code_units
    end = pointer + length
    if length > MAX_BYTE_LENGTH or end > memory.size:
        _require(memory, length, end)
    try:
        return str(memory.view[pointer:end], "utf-16-le")
    except UnicodeDecodeError as error:
        raise Trap(f"invalid utf-16: {error.reason} at byte {error.start}") from None


def load_latin1_utf16(memory: Memory, pointer: int, tagged_length: int) -> str:
    if tagged_length & UTF16_TAG:
        return load_utf16(memory, pointer, tagged_length ^ UTF16_TAG)
    if pointer & 1:
        raise Trap("string pointer not aligned to 2")
    end = pointer + tagged_length
    if tagged_length > MAX_BYTE_LENGTH or end > memory.size:
        _require(memory, tagged_length, end)
    return str(memory.view[pointer:end], "latin-1")


def _require(memory: Memory, length: int, end: int) -> None:
    if length > MAX_BYTE_LENGTH:
        raise Trap(f"string of {length} bytes is longer than the Canonical ABI admits")
    require(memory, end, "string pointer/length out of bounds of memory")


def require(memory: Memory, end: int, message: str) -> None:
    """``memory.require(end)``, whose trap reads ``message``."""
    try:
        memory.require(end)
    except Trap:
        raise Trap(message) from None


def charged(load: Callable[[Memory, int, int], str]) -> Callable[[Context, int, int], str]:
    """A loader that charges what the string takes in Python to the call's budget."""

    def load_charged(cx: Context, pointer: int, length: int) -> str:
        string = load(cx.memory, pointer, length)
        cx.spend(string.__sizeof__())
        return string

    return load_charged


def store_utf8(cx: Context, value: Any) -> tuple[int, int]:
    data = _encode(value, "utf-8")
    length = len(data)
    pointer = cx.allocate(1, length)
    cx.memory.view[pointer : pointer + length] = data
    return pointer, length


def store_utf16(cx: Context, value: Any) -> tuple[int, int]:
    data = _encode(value, "utf-16-le")
    length = len(data)
    pointer = cx.allocate(2, length)
    cx.memory.view[pointer : pointer + length] = data
    return pointer, length // 2


def store_latin1_utf16(cx: Context, value: Any) -> tuple[int, int]:
    try:
        data = _encode(value, "latin-1")
        tagged_length = len(data)
    except _NotLatin1:
        data = _encode(value, "utf-16-le")
        tagged_length = len(data) // 2 | UTF16_TAG
    length = len(data)
    pointer = cx.allocate(2, length)
    cx.memory.view[pointer : pointer + length] = data
    return pointer, tagged_length


class _NotLatin1(Exception):
    pass


def _encode(value: Any, codec: str) -> bytes:
    if not isinstance(value, str):
        raise mismatch(STRING, value)
    try:
        data = value.encode(codec)
    except UnicodeEncodeError as error:
        if codec == "latin-1":
            raise _NotLatin1 from None
        raise mismatch(STRING, value, error.reason) from None
    if len(data) > MAX_BYTE_LENGTH:
        raise mismatch(STRING, value, f"{len(data)} bytes are more than the Canonical ABI admits")
    return data


LOADERS = {
    StringEncoding.UTF8: load_utf8,
    StringEncoding.UTF16: load_utf16,
    StringEncoding.LATIN1_UTF16: load_latin1_utf16,
}
CHARGED_LOADERS = {encoding: charged(load) for encoding, load in LOADERS.items()}
STORERS = {
    StringEncoding.UTF8: store_utf8,
    StringEncoding.UTF16: store_utf16,
    StringEncoding.LATIN1_UTF16: store_latin1_utf16,
}
