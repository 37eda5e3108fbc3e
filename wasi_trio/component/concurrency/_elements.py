"""The element types of streams and futures, and the conversion of their elements."""

from __future__ import annotations

import functools
from array import array
from typing import Any

from wasi_trio.component._context import Context
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._handles import HandleTable
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._types import U8, List, ValType
from wasi_trio.component.abi import alignment, fit, size, store_list
from wasi_trio.component.abi._checks import as_buffer, as_integer, as_items
from wasi_trio.component.abi._layout import number_code
from wasi_trio.component.concurrency._weights import varies

#: Maximum number of elements in one read or write (Buffer.MAX_LENGTH of the Canonical ABI).
MAX_LENGTH = 2**28 - 1
#: Maximum number of cached element types.
_MAX_KNOWN = 4096


class Element:
    """Copies elements of one type.

    ``code`` is the ``array`` type code of numbers, which are copied between memories as blocks of bytes. Elements of
    other types are lifted and lowered. Elements whose size ``varies`` are lowered with the reader's ``realloc``.
    Elements without a type have size 0.
    """

    __slots__ = ("alignment", "bytes", "code", "list", "plain", "size", "type", "varies")

    def __init__(self, type_: ValType | None) -> None:
        self.type = type_
        self.bytes = type_ == U8
        self.list = None if type_ is None else List(type_)
        self.code = number_code(type_)
        self.size = 0 if type_ is None else size(type_)
        self.alignment = 1 if type_ is None else alignment(type_)
        self.varies = varies(type_)
        #: True for numbers and for elements without a type, which may be copied within one instance.
        self.plain = type_ is None or self.code is not None

    def check(self, value: Any) -> None:
        """Raise HostError for a future's value that does not fit."""
        if self.type is not None and not self.plain:
            fit(self.type)(value)

    def check_all(self, values: Any) -> None:
        """Raise HostError for a stream's elements that do not fit. ``pack`` checks numbers."""
        if self.list is not None and not self.plain:
            fit(self.list)(values)

    def pack(self, values: Any) -> tuple[Any, int]:
        """Return the host's values in a form ready to be copied, and their number. Raises HostError.

        A stream without a type takes a count. A stream of ``u8`` takes any C-contiguous buffer of unsigned bytes, which
        must not change until it is written.
        """
        if self.list is None:
            if not isinstance(values, int) or not 0 <= values <= MAX_LENGTH:
                raise HostError(f"a stream without a type takes a count of at most {MAX_LENGTH}, not {values!r:.80}")
            return None, values
        if self.bytes:
            data = as_buffer(values, self.list, MAX_LENGTH)
            return data, len(data)
        items = as_items(values, self.list, MAX_LENGTH)
        return (items if self.code is None else self._numbers(items)), len(items)

    def pack_one(self, value: Any) -> Any:
        """Return a future's value in a form ready to be copied. Raises HostError."""
        if self.type is None:
            if value is not None:
                raise HostError(f"a future without a type has no value, but was given a {type(value).__name__}")
            return None
        if self.bytes:
            return bytes([as_integer(value, U8)])
        return [value] if self.code is None else self._numbers([value])

    def _numbers(self, items: Any) -> memoryview:
        assert self.type is not None
        memory = _Bytes(self.size * len(items))
        store_list(self.type, StringEncoding.UTF8)(Context(HandleTable(), memory, None), 0, items)
        return memory.view

    def unpack(self, block: Any) -> Any:
        """Return the Python values of a block that the host may keep, or of None: bytes for ``u8``, else a list."""
        if self.bytes:
            return block or b""
        if self.code is None or block is None:
            return list(block or ())
        numbers = array(self.code)
        numbers.frombytes(block)
        return numbers.tolist()

    def block(self, packed: Any, start: int, count: int) -> Any:
        """Return ``count`` elements of a result of ``pack``, starting at element ``start``."""
        if self.type is None:
            return None
        if self.code is None:
            return packed[start : start + count]
        if start == 0 and count * self.size == len(packed):
            return packed
        return memoryview(packed)[start * self.size : (start + count) * self.size]


#: The cache by type identity. It keeps the types alive, so that no other type gets the same id.
_known: dict[int, tuple[ValType | None, Element]] = {}


def element_of(type_: ValType | None) -> Element:
    """Return the traits of this element type. Equal types yield the same object.

    Each stream or future needs them when it is created. Comparing a type like an error code by structure takes longer
    than the rest of the creation, so a type is looked up by structure only once.
    """
    known = _known.get(id(type_))
    if known is None:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        known = _known[id(type_)] = (type_, _element(type_))
    return known[1]


@functools.lru_cache(maxsize=_MAX_KNOWN)
def _element(type_: ValType | None) -> Element:
    return Element(type_)


class _Bytes:
    """A memory for one list."""

    def __init__(self, length: int) -> None:
        self.view = memoryview(bytearray(length))
        self.size = length

    def require(self, end: int) -> None:
        raise Trap("out of bounds memory access")
