"""Reads a component's bytes: integers, names, vectors, sections, and indices checked against their index space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from wasi_trio.component._errors import MalformedComponent, Unsupported
from wasi_trio.component._sorts import Sort

T = TypeVar("T")

#: Maximum nesting of components, component types and instance types, counted together.
MAX_NESTING = 100
#: Maximum number of sections and vector elements in a component. Each becomes an object of up to 200 bytes, so this
#: bounds the host's memory. A component that contains a Python interpreter has about 6,000.
MAX_PARTS = 1_000_000


class Scope:
    """The index spaces read so far of a component, a component type or an instance type.

    Only their sizes are stored, because they are all that checking an index requires.
    """

    __slots__ = ("depth", "outer", "sizes")

    def __init__(self, outer: Scope | None) -> None:
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.sizes: dict[Sort, int] = dict.fromkeys(Sort, 0)


class Reader:
    """A position in a component's bytes, and its scope.

    The reader never reads past ``end``, the end of the innermost section. Every failure is a ``MalformedComponent`` or
    ``Unsupported`` with the offset from the start of ``data``.
    """

    __slots__ = ("data", "end", "parts", "position", "scope")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.end = len(data)
        self.scope = Scope(None)
        self.parts = 0

    # ---- failures ----------------------------------------------------------------------------------------

    def malformed(self, what: str, at: int | None = None) -> MalformedComponent:
        """Return the error to raise. ``at`` is the offset of the fault, by default the current position."""
        return MalformedComponent(f"malformed component: {what} (at offset {self.position if at is None else at:#x})")

    def unsupported(self, feature: str, at: int) -> Unsupported:
        return Unsupported(f"the component uses {feature}, which is not supported (at offset {at:#x})")

    # ---- primitives --------------------------------------------------------------------------------------

    def byte(self, what: str) -> int:
        position = self.position
        if position >= self.end:
            raise self.malformed(f"unexpected end instead of {what}")
        self.position = position + 1
        return self.data[position]

    def u32(self, what: str) -> int:
        position = self.position
        if position < self.end and self.data[position] < 0x80:
            self.position = position + 1
            return self.data[position]
        return self.unsigned(32, what)

    def unsigned(self, bits: int, what: str) -> int:
        """Read an unsigned LEB128 number of at most ``bits`` bits."""
        start = self.position
        value = shift = 0
        while shift < bits:
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
            shift += 7
        raise self.malformed(f"{what} does not fit {bits} bits", start)

    def s33_index(self, what: str) -> int:
        """Read a type index that shares its encoding with negative type codes: a 33-bit signed LEB128 number."""
        start = self.position
        value = shift = 0
        while shift < 33:
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if byte & 0x40 or value >> 32:
                    break
                return value
        raise self.malformed(f"{what} is not a type index", start)

    def raw_name(self, what: str) -> str:
        """Read a length and that many bytes of UTF-8."""
        start = self.position
        length = self.u32(f"length of {what}")
        position = self.position
        if length > self.end - position:
            raise self.malformed(f"{what} is {length} bytes long, but only {self.end - position} are left", start)
        self.position = position + length
        try:
            return str(self.data[position : self.position], "utf-8")
        except UnicodeDecodeError as error:
            raise self.malformed(f"{what} is not valid UTF-8", position + error.start) from None

    def count(self, what: str) -> int:
        """Read the length of a vector whose elements take at least one byte each."""
        start = self.position
        count = self.u32(f"number of {what}")
        if count > self.end - self.position:
            raise self.malformed(f"{count} {what} announced, but only {self.end - self.position} bytes are left", start)
        self.add_parts(count, start)
        return count

    def add_parts(self, count: int, start: int) -> None:
        self.parts += count
        if self.parts > MAX_PARTS:
            raise self.malformed(f"more than {MAX_PARTS} sections and definitions", start)

    def vector(self, what: str, element: Callable[[], T]) -> tuple[T, ...]:
        return tuple([element() for _ in range(self.count(what))])

    def optional(self, what: str, value: Callable[[], T]) -> T | None:
        return value() if self.flag(f"presence of {what}") else None

    def flag(self, what: str) -> bool:
        start = self.position
        byte = self.byte(what)
        if byte > 1:
            raise self.malformed(f"{what} is {byte:#04x} instead of 0 or 1", start)
        return byte == 1

    def expect(self, value: int, what: str) -> None:
        start = self.position
        byte = self.byte(what)
        if byte != value:
            raise self.malformed(f"{what} is {byte:#04x} instead of {value:#04x}", start)

    # ---- sections and scopes -----------------------------------------------------------------------------

    @contextmanager
    def section(self, what: str) -> Iterator[None]:
        """Read a section's size and confine reading to the section. Its content must fill it completely."""
        start = self.position
        self.add_parts(1, start)
        size = self.u32(f"size of {what}")
        outer_end = self.end
        if size > outer_end - self.position:
            raise self.malformed(f"{what} is {size} bytes long, but only {outer_end - self.position} are left", start)
        self.end = self.position + size
        yield
        if self.position != self.end:
            raise self.malformed(f"{what} has bytes after its content")
        self.end = outer_end

    @contextmanager
    def nested_scope(self) -> Iterator[None]:
        """Enter the scope of a nested component, component type or instance type."""
        outer = self.scope
        self.scope = Scope(outer)
        if self.scope.depth > MAX_NESTING:
            raise self.malformed(f"components and types are nested deeper than {MAX_NESTING}")
        yield
        self.scope = outer

    def define(self, sort: Sort, count: int = 1) -> None:
        """Add ``count`` entries to an index space of the current scope."""
        self.scope.sizes[sort] += count

    def index(self, sort: Sort) -> int:
        """Read an index into one of the current scope's index spaces."""
        start = self.position
        return self.check_index(sort, self.u32(f"{sort.value} index"), start, self.scope)

    def check_index(self, sort: Sort, index: int, start: int, scope: Scope) -> int:
        size = scope.sizes[sort]
        if index >= size:
            raise self.malformed(f"{sort.value} index {index} is out of range; the space has {size} entries", start)
        return index
