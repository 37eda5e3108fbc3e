"""The core modules of a group, the merged module, and the parts of the binary format that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wasi_trio.component._core_types import skip_limits
from wasi_trio.component._plan import InstantiateModule
from wasi_trio.component._reader import Reader
from wasi_trio.component._sorts import Sort
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import read_unsigned, section, unsigned

PREAMBLE = b"\0asm\1\0\0\0"
CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT = range(8)
START, ELEMENT, CODE, DATA, DATA_COUNT = 8, 9, 10, 11, 12
KNOWN_SECTIONS = frozenset(range(13))
FUNCTION_NAMES = 1

#: The kinds of imports and exports, by their codes.
KINDS = (Sort.CORE_FUNC, Sort.CORE_TABLE, Sort.CORE_MEMORY, Sort.CORE_GLOBAL)
FUNC, TAB, MEM, GLOB = range(4)


#: Numbers, vectors, and references to functions or to the host's objects.
VALUE_TYPES = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F))
REFERENCE_TYPES = frozenset((0x70, 0x6F))

#: The last instruction of an expression.
END = b"\x0b"
REF_FUNC = 0xD2


class Unmergeable(Exception):
    """A module uses a part of WebAssembly that is not merged."""


def read_number(content: bytes, at: int) -> tuple[int, int]:
    byte = content[at]
    return (byte, at + 1) if byte < 0x80 else read_unsigned(memoryview(content), at)


def described(reader: Reader) -> tuple[int, bytes]:
    """Return the kind of an import, and the bytes that describe its type."""
    kind = reader.byte("kind of an import")
    start = reader.position
    if kind == FUNC:
        reader.u32("type index")
    elif kind == TAB:
        if reader.byte("reference type") not in REFERENCE_TYPES:
            raise Unmergeable
        skip_limits(reader)
    elif kind == MEM:
        skip_limits(reader)
    elif kind == GLOB:
        if reader.byte("value type") not in VALUE_TYPES:
            raise Unmergeable
        reader.byte("mutability")
    else:
        raise Unmergeable
    return kind, reader.data[start : reader.position]


@dataclass(slots=True)
class Module:
    """A module of a group.

    ``maps`` has, for each kind of item, the merged module's index for each index of the module's own. ``types``,
    ``elements`` and ``data`` are the offsets to add to the module's own indices of these.
    """

    step: InstantiateModule
    parts: list[tuple[int, memoryview]]
    maps: tuple[list[int], list[int], list[int], list[int]] = field(default_factory=lambda: ([], [], [], []))
    exports: dict[str, tuple[int, int]] = field(default_factory=dict)
    types: int = 0
    elements: int = 0
    data: int = 0

    def reader(self, identifier: int) -> Reader | None:
        """Return a reader of a section's content, or None if the module lacks the section."""
        content = self.content(identifier)
        return None if content is None else Reader(content)

    def content(self, identifier: int) -> bytes | None:
        return next((bytes(content) for found, content in self.parts if found == identifier), None)


@dataclass(slots=True)
class Merged:
    """The sections of the merged module, as lists of their entries."""

    types: list[bytes] = field(default_factory=list)
    imports: list[bytes] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    memories: list[bytes] = field(default_factory=list)
    globals: list[bytes] = field(default_factory=list)
    exports: list[bytes] = field(default_factory=list)
    elements: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    names: dict[int, bytes] = field(default_factory=dict)
    module_name: str = ""
    #: The value of each global as a constant expression, or None for a variable.
    values: list[bytes | None] = field(default_factory=list)
    #: The functions to which a reference is taken.
    referenced: set[int] = field(default_factory=set)

    def code(self) -> bytes:
        if self.referenced:
            listed = b"".join(map(unsigned, sorted(self.referenced)))
            self.elements.append(b"\x03\x00" + unsigned(len(self.referenced)) + listed)
        vectors = (
            (TYPE, self.types), (IMPORT, self.imports), (FUNCTION, self.functions), (TABLE, self.tables),
            (MEMORY, self.memories), (GLOBAL, self.globals), (EXPORT, self.exports),
        )  # fmt: skip
        parts = [PREAMBLE, *(vector(identifier, entries) for identifier, entries in vectors)]
        parts.append(vector(ELEMENT, self.elements))
        if self.data:
            parts.append(section(DATA_COUNT, unsigned(len(self.data))))
        parts += (vector(CODE, self.bodies), vector(DATA, self.data), self._names())
        return b"".join(parts)

    def _names(self) -> bytes:
        functions = b"".join(unsigned(index) + named for index, named in sorted(self.names.items()))
        content = section(0, encode_name(self.module_name)) if self.module_name else b""
        if self.names:
            content += section(FUNCTION_NAMES, unsigned(len(self.names)) + functions)
        return section(CUSTOM, encode_name("name") + content) if content else b""


def vector(identifier: int, entries: Sequence[bytes]) -> bytes:
    return section(identifier, unsigned(len(entries)) + b"".join(entries)) if entries else b""
