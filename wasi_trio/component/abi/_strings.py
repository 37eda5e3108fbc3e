"""Strings in a guest's memory (``load_string_from_range`` and ``store_string_into_range`` of the Canonical ABI).

Lowering makes one allocation of the exact size. The specification's growing and shrinking reallocations serve hosts
that transcode while they copy. Here Python's codecs produce the bytes first, so their number is known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wasi_trio.component._context import Context, Memory
from wasi_trio.component._errors import Trap
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._types import STRING
from wasi_trio.component.abi._checks import mismatch
from wasi_trio.component.abi._layout import MAX_BYTE_LENGTH

#: The bit of a latin1+utf16 length that marks a count of UTF-16 code units.
UTF16_TAG = 2**31


Load = Callable[[Context, int, int], str]


def _utf8_loader(charge_from: int) -> Load:
    def load_utf8(cx: Context, pointer: int, length: int) -> str:
        memory = cx.memory
        end = pointer + length
        if length > MAX_BYTE_LENGTH or end > memory.size:
            _require(memory, length, end)
        if length >= charge_from:
            cx.spend(length)
        try:
            # A copy is cheaper than decoding from the memoryview.
            string = memory.view[pointer:end].tobytes().decode()
        except UnicodeDecodeError as error:
            cut_off = error.reason == "unexpected end of data"
            fault = "incomplete utf-8 byte sequence" if cut_off else f"invalid utf-8: {error.reason}"
            raise Trap(f"{fault} at byte {error.start}") from None
        if length >= charge_from:
            cx.spend(string.__sizeof__() - length)
        return string

    return load_utf8


def _utf16_loader(charge_from: int) -> Load:
    def load_utf16(cx: Context, pointer: int, code_units: int) -> str:
        if pointer & 1:
            raise Trap("unaligned pointer to a string")
        memory = cx.memory
        length = 2 * code_units
        end = pointer + length
        if length > MAX_BYTE_LENGTH or end > memory.size:
            _require(memory, length, end)
        if length >= charge_from:
            cx.spend(length)
        try:
            string = str(memory.view[pointer:end], "utf-16-le")
        except UnicodeDecodeError as error:
            raise Trap(f"invalid utf-16: {error.reason} at byte {error.start}") from None
        if length >= charge_from:
            cx.spend(string.__sizeof__() - length)
        return string

    return load_utf16


def _latin1_utf16_loader(charge_from: int) -> Load:
    load_utf16 = _utf16_loader(charge_from)

    def load_latin1_utf16(cx: Context, pointer: int, tagged_length: int) -> str:
        if tagged_length & UTF16_TAG:
            return load_utf16(cx, pointer, tagged_length ^ UTF16_TAG)
        if pointer & 1:
            raise Trap("unaligned pointer to a string")
        memory = cx.memory
        end = pointer + tagged_length
        if tagged_length > MAX_BYTE_LENGTH or end > memory.size:
            _require(memory, tagged_length, end)
        if tagged_length >= charge_from:
            cx.spend(tagged_length)
        string = str(memory.view[pointer:end], "latin-1")
        if tagged_length >= charge_from:
            cx.spend(string.__sizeof__() - tagged_length)
        return string

    return load_latin1_utf16


_FACTORIES = {
    StringEncoding.UTF8: _utf8_loader,
    StringEncoding.UTF16: _utf16_loader,
    StringEncoding.LATIN1_UTF16: _latin1_utf16_loader,
}


@functools.cache
def string_loader(encoding: StringEncoding, charge_from: int) -> Load:
    """Return the loader of one string. It charges the call's budget if the string has ``charge_from`` bytes or more.

    The loader charges the string's length before it reads the string. The final charge is the size of the Python
    string, at most four times the length in the guest's memory.
    """
    return _FACTORIES[encoding](charge_from)


def _require(memory: Memory, length: int, end: int) -> None:
    if length > MAX_BYTE_LENGTH:
        raise Trap(f"string of {length} bytes is longer than the Canonical ABI admits")
    require(memory, end, "string pointer/length out of bounds of memory")


def require(memory: Memory, end: int, message: str) -> None:
    """Call ``memory.require(end)`` and replace the message of its trap."""
    try:
        memory.require(end)
    except Trap:
        raise Trap(message) from None


def store_utf8(cx: Context, value: Any) -> tuple[int, int]:
    data = encode(value, "utf-8")
    length = len(data)
    pointer = cx.allocate(1, length)
    cx.memory.view[pointer : pointer + length] = data
    return pointer, length


def store_utf16(cx: Context, value: Any) -> tuple[int, int]:
    data = encode(value, "utf-16-le")
    length = len(data)
    pointer = cx.allocate(2, length)
    cx.memory.view[pointer : pointer + length] = data
    return pointer, length >> 1


def store_latin1_utf16(cx: Context, value: Any) -> tuple[int, int]:
    latin1 = isinstance(value, str) and (value.isascii() or max(value) < "\u0100")
    data = encode(value, "latin-1" if latin1 else "utf-16-le")
    length = len(data)
    pointer = cx.allocate(2, length)
    cx.memory.view[pointer : pointer + length] = data
    return pointer, length if latin1 else length >> 1 | UTF16_TAG


def encode(value: Any, codec: str) -> bytes:
    """Return the bytes of a ``string``'s value."""
    if not isinstance(value, str):
        raise mismatch(STRING, value)
    try:
        data = value.encode(codec)
    except UnicodeEncodeError as error:
        raise mismatch(STRING, value, error.reason) from None
    if len(data) > MAX_BYTE_LENGTH:
        raise mismatch(STRING, value, f"{len(data)} bytes are more than the Canonical ABI admits")
    return data


STORERS = {
    StringEncoding.UTF8: store_utf8,
    StringEncoding.UTF16: store_utf16,
    StringEncoding.LATIN1_UTF16: store_latin1_utf16,
}
