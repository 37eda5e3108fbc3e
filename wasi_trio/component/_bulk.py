"""Rewrites core modules so that epochs can interrupt their large memory operations.

wasmtime checks its epoch at the start of functions and in loops. So nothing can interrupt a ``memory.fill`` of a
gigabyte, and the event loop waits for it. This module replaces ``memory.fill``, ``memory.copy`` and ``memory.init`` by
calls of functions that it adds to the core module. These execute the original instruction for short ranges, and loop
over slices of long ones.

Copying a table of a million elements takes milliseconds, and the first access to a page of memory takes microseconds.
A function without a loop can do either thousands of times. So this module also inserts calls of an empty function,
where wasmtime checks its epoch: before each table instruction, and at intervals in long functions.

The instructions must be found exactly, so the bodies are decoded. One regular expression matches all instructions
except those with vectors of immediates. A body with an unknown instruction is made invalid, so that none gets through.

https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wasi_trio.component._core_types import skip_extern_type, skip_limits, skip_rec_type
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._instructions import ALIGNMENT, ALIGNMENT_AND_MEMORY, LEB, LEB64, codes, vectors
from wasi_trio.component._reader import Reader
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import read_unsigned, section, sections, signed, unsigned
from wasi_trio.lazy import Pattern

#: Maximum bytes that one instruction may set or copy. If each page is touched for the first time, that takes about 1
#: ms.
SLICE = 256 << 10

#: Maximum bytes of consecutive instructions without an epoch check. About 3,200 instructions may each touch a page of
#: memory for the first time, which takes 15 µs on a slow system.
STRETCH = 32 << 10

_PREAMBLE = 8
_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _MEMORY, _CODE, _DATA = 0, 1, 2, 3, 5, 10, 11
_NAME_OF_FUNCTIONS = 1
_INIT, _COPY, _FILL = 0x08, 0x0A, 0x0B
#: Not an instruction but a place for an epoch check.
_PAUSE = -1
_NAMES = {_INIT: "memory.init", _COPY: "memory.copy", _FILL: "memory.fill", _PAUSE: "pause"}
_I32, _I64 = 0x7F, 0x7E

# ---- instructions ----------------------------------------------------------------------------------------

#: An abstract heap type has one byte, which also matches a one-byte number. Shared types (0x65) have two bytes.
_HEAP = rb"(?:(?!\x65)" + LEB + rb")"
_VALUE = rb"(?:[\x63\x64]" + _HEAP + rb"|[\x66-\x7f])"
_BLOCK = rb"(?:[\x63\x64]" + _HEAP + rb"|(?![\x63-\x65])" + LEB + rb")"
_MEMARG = rb"(?:" + ALIGNMENT + rb"|" + ALIGNMENT_AND_MEMORY + rb")" + LEB64

#: A constant length below 8 KiB with its instruction. This is short, and stays unchanged.
_SHORT = rb"\x41[\x80-\xff]?[\x00-\x3f]\xfc(?:\x0b\x00|\x0a\x00\x00)"
_SIMPLE = (
    _SHORT,
    rb"[\x0c\x0d\x10\x12\x14\x15\x20-\x26\x3f-\x41\xd2\xd5\xd6\x08]" + LEB,
    rb"[\x00\x01\x05\x0a\x0b\x0f\x1a\x1b\x45-\xc4\xd1\xd3\xd4]",
    rb"[\x28-\x3e]" + _MEMARG,
    rb"[\x02-\x04]" + _BLOCK,
    rb"[\x11\x13]" + LEB + LEB,
    rb"\x42" + LEB64,
    rb"\x43[\x00-\xff]{4}",
    rb"\x44[\x00-\xff]{8}",
    rb"\xd0" + _HEAP,
    # Saturating conversions and 128-bit arithmetic, then segments and tables.
    rb"\xfc" + codes((0x00, 0x07), (0x13, 0x16)),
    rb"\xfc" + codes(0x09, 0x0D, (0x0F, 0x10)) + LEB,
    *vectors(_MEMARG),
    # Objects.
    rb"\xfb" + codes((0x00, 0x01), 0x06, 0x07, (0x0B, 0x0E), 0x10) + LEB,
    rb"\xfb" + codes((0x02, 0x05), (0x08, 0x0A), (0x11, 0x13)) + LEB + LEB,
    rb"\xfb" + codes(0x0F, (0x1A, 0x1E)),
    rb"\xfb" + codes((0x14, 0x17)) + _HEAP,
    rb"\xfb" + codes((0x18, 0x19)) + rb"[\x00-\xff]" + LEB + _HEAP + _HEAP,
)
#: Matches at most 500 instructions. It never needs to backtrack, but a possessive repetition (``*+``) fails in the
#: first releases of CPython 3.11 (CPython issue 106052).
_RUN = Pattern(rb"(?:" + rb"|".join(_SIMPLE) + rb"){0,500}")
_BULK = re.compile(rb"\xfc" + codes(_INIT, _COPY, _FILL))
_TABLE = re.compile(rb"\xfc(?:" + codes(0x0C, 0x0E) + LEB + rb"|" + codes(0x11) + rb")" + LEB)
#: The opcodes of ``_BULK`` and ``_TABLE``, at any position.
_SUSPECT = re.compile(rb"\xfc" + codes(_INIT, _COPY, _FILL, 0x0C, 0x0E, 0x11))
_NUMBER = re.compile(LEB)
_LOCALS = re.compile(LEB + _VALUE)
_VALUE_TYPE = re.compile(_VALUE)
_BLOCK_TYPE = re.compile(_BLOCK)
_CATCH = re.compile(rb"[\x00\x01]" + LEB + LEB + rb"|[\x02\x03]" + LEB)
_BR_TABLE, _SELECT, _TRY_TABLE = 0x0E, 0x1C, 0x1F


class _Unknown(Exception):
    """A body contains bytes that cannot be decoded."""


def _after(pattern: re.Pattern[bytes] | Pattern[bytes], data: bytes, at: int, end: int) -> int:
    match = pattern.match(data, at, end)
    if match is None:
        raise _Unknown
    return match.end()


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    after = _after(_NUMBER, data, at, end)
    value = 0
    for byte in reversed(data[at:after]):
        value = value << 7 | byte & 0x7F
    return value, after


def _after_vector(element: re.Pattern[bytes], data: bytes, at: int, end: int) -> int:
    count, at = _number(data, at, end)
    if count > end - at:
        raise _Unknown
    if element is _NUMBER and data[at : at + count].isascii():
        return at + count
    for _ in range(count):
        at = _after(element, data, at, end)
    return at


@dataclass(frozen=True, slots=True)
class _Operation:
    """A memory instruction, without the ``0xfc`` of its encoding."""

    code: int
    indices: tuple[int, ...]


_AT_A_PAUSE = _Operation(_PAUSE, ())


def _operations(data: bytes, at: int, end: int, last: int) -> list[tuple[int, int, _Operation]]:
    """Return the memory instructions of a body and the places for epoch checks, each with its start and end.

    Decodes the body up to ``last``. Raises _Unknown.
    """
    found = []
    since = at = _after_vector(_LOCALS, data, at, end)
    while at <= last and at < end:
        if at - since >= STRETCH:
            found.append((at, at, _AT_A_PAUSE))
            since = at
        after = _after(_RUN, data, at, end)
        opcode = data[at]
        if after > at:
            at = after
        elif opcode == _BR_TABLE:
            at = _after(_NUMBER, data, _after_vector(_NUMBER, data, at + 1, end), end)
        elif opcode == _SELECT:
            at = _after_vector(_VALUE_TYPE, data, at + 1, end)
        elif opcode == _TRY_TABLE:
            at = _after_vector(_CATCH, data, _after(_BLOCK_TYPE, data, at + 1, end), end)
        elif table := _TABLE.match(data, at, end):
            found.append((at, at, _AT_A_PAUSE))
            since, at = at, table.end()
        else:
            start = at
            at = _after(_BULK, data, at, end)
            code = data[start + 1] & 0x7F
            indices = []
            for _ in range(1 if code == _FILL else 2):
                index, at = _number(data, at, end)
                indices.append(index)
            found.append((start, at, _Operation(code, tuple(indices))))
    return found


# ---- the functions that are added ------------------------------------------------------------------------


_ADD, _SUB, _LT, _LE, _GT = (
    {_I32: b"\x6a", _I64: b"\x7c"},
    {_I32: b"\x6b", _I64: b"\x7d"},
    {_I32: b"\x49", _I64: b"\x54"},
    {_I32: b"\x4d", _I64: b"\x58"},
    {_I32: b"\x4b", _I64: b"\x56"},
)
_OR, _DROP, _RETURN, _END, _ELSE = b"\x72", b"\x1a", b"\x0f", b"\x0b", b"\x05"
_IF, _LOOP, _AGAIN = b"\x04\x40", b"\x03\x40", b"\x0d\x00"
_D, _S, _N = 0, 1, 2


class _Helper:
    """A function that replaces an instruction: it takes the same operands and does the same in slices."""

    def __init__(self, operation: _Operation, is_64: list[bool]) -> None:
        def width(memory: int) -> int:
            return _I64 if memory < len(is_64) and is_64[memory] else _I32

        self.operation = operation
        self.types: tuple[int, ...] = ()
        if operation.code == _PAUSE:
            return
        encoded = b"".join(map(unsigned, operation.indices))
        self.instruction = b"\xfc" + bytes((operation.code,)) + encoded
        if operation.code == _FILL:
            to = width(operation.indices[0])
            self.types = (to, _I32, to)
        elif operation.code == _INIT:
            self.types = (width(operation.indices[1]), _I32, _I32)
        else:
            to, source = map(width, operation.indices)
            self.types = (to, source, min(to, source) if to == source else _I32)

    @property
    def type(self) -> bytes:
        return b"\x60" + bytes((len(self.types), *self.types)) + b"\x00"

    def _get(self, local: int) -> bytes:
        return b"\x20" + bytes((local,))

    def _slice(self, kind: int) -> bytes:
        return (b"\x41" if kind == _I32 else b"\x42") + signed(SLICE)

    def _length_as(self, kind: int) -> bytes:
        """Return the length as a number that can be added to an address."""
        return self._get(_N) + (b"\xad" if kind == _I64 and self.types[_N] == _I32 else b"")

    def _moved(self, local: int, change: dict[int, bytes]) -> bytes:
        kind = self.types[local]
        return self._get(local) + self._slice(kind) + change[kind] + b"\x21" + bytes((local,))

    def _last(self, local: int) -> bytes:
        """Return the address of the last byte."""
        kind = self.types[local]
        one = (b"\x41" if kind == _I32 else b"\x42") + b"\x01"
        return self._get(local) + self._length_as(kind) + _ADD[kind] + one + _SUB[kind]

    def _wraps(self, local: int) -> bytes:
        return self._last(local) + self._get(local) + _LT[self.types[local]]

    def _touch(self, local: int, memory: int) -> bytes:
        """Trap if the last byte is out of bounds."""
        return (
            self._last(local) + b"\x2d\x40" + unsigned(memory) + b"\x00" + _DROP
            if memory
            else (self._last(local) + b"\x2d\x00\x00" + _DROP)
        )

    def _longer(self) -> bytes:
        kind = self.types[_N]
        return self._get(_N) + self._slice(kind) + _GT[kind]

    def _forward(self, moving: tuple[int, ...]) -> bytes:
        step = self._get(_D) + self._get(_S) + self._slice(self.types[_N]) + self.instruction
        moves = b"".join(self._moved(local, _ADD) for local in moving) + self._moved(_N, _SUB)
        return _LOOP + step + moves + self._longer() + _AGAIN + _END

    def _backward(self) -> bytes:
        ends = b"".join(
            self._get(local) + self._length_as(self.types[local]) + _ADD[self.types[local]] for local in (_D, _S)
        )
        step = self._moved(_N, _SUB) + ends + self._slice(self.types[_N]) + self.instruction
        return _LOOP + step + self._longer() + _AGAIN + _END

    @property
    def body(self) -> bytes:
        code, indices = self.operation.code, self.operation.indices
        if code == _PAUSE:
            return b"\x00" + _END
        whole = self._get(_D) + self._get(_S) + self._get(_N) + self.instruction
        kind = self.types[_N]
        # A short range needs no slices. A range that wraps around traps in the original instruction.
        parts = [self._get(_N), self._slice(kind), _LE[kind], self._wraps(_D), _OR]
        if code == _COPY:
            parts += [self._wraps(_S), _OR]
        elif code == _INIT:
            parts += [self._get(_S), self._get(_N), _ADD[_I32], self._get(_S), _LT[_I32], _OR]
        parts += [_IF, whole, _RETURN, _END]
        # These checks come first, because nothing may be written if any part is out of bounds.
        parts.append(self._touch(_D, indices[1] if code == _INIT else indices[0]))
        if code == _COPY:
            parts.append(self._touch(_S, indices[1]))
        elif code == _INIT:
            parts += [self._get(_D), self._get(_S), self._get(_N), _ADD[_I32], b"\x41\x00", self.instruction]
        if code == _COPY and self.types[_D] == self.types[_S]:
            # Two memories may be the same import, so the direction must suit overlaps for them too.
            forward, backward = self._forward((_D, _S)), self._backward()
            parts += [self._get(_D), self._get(_S), _LE[self.types[_D]], _IF, forward, _ELSE, backward, _END]
        else:
            parts.append(self._forward((_D,) if code == _FILL else (_D, _S)))
        return b"\x00" + b"".join(parts) + whole + _END


# ---- modules ---------------------------------------------------------------------------------------------


def sliced(code: bytes) -> bytes:
    """Return a core module whose memory operations handle at most ``SLICE`` bytes each, or ``code`` if it has none.

    The result for an invalid module is invalid too, so wasmtime rejects it, with one exception: the body may refer
    to a function or type one past the last, which then means an added one. That is harmless, because the added function
    does the same as an instruction.
    """
    try:
        parts = sections(memoryview(code)[_PREAMBLE:])
    except MalformedComponent:
        return code  # wasmtime rejects it
    if not any(_may_change(content) for identifier, content in parts if identifier == _CODE):
        return code
    try:
        return _sliced(code, parts)
    except MalformedComponent:
        # A section is inconsistent. A truncated section makes sure that wasmtime rejects the module.
        return code + bytes((_CUSTOM,))


def _may_change(bodies: memoryview) -> bool:
    return len(bodies) > STRETCH or _SUSPECT.search(bodies) is not None


def _sliced(code: bytes, parts: list[tuple[int, memoryview]]) -> bytes:
    rewriting = _Rewriting(parts)
    content = next((content for identifier, content in parts if identifier == _CODE), None)
    if content is None:
        return code
    bodies = rewriting.code(bytes(content))
    if not rewriting.changed:
        return code
    helpers = list(rewriting.helpers)
    extra = {
        _TYPE: [helper.type for helper in helpers],
        _FUNCTION: [unsigned(rewriting.types + index) for index in range(len(helpers))],
    }
    out = [code[:_PREAMBLE]]
    for identifier, content in parts:
        if identifier in extra:
            out.append(section(identifier, _appended(bytes(content), extra[identifier])))
        elif identifier == _CODE:
            out.append(section(identifier, bodies))
        elif identifier == _CUSTOM:
            kept = rewriting.custom(bytes(content))
            if kept is not None:
                out.append(section(identifier, kept))
        else:
            out.append(section(identifier, content))
    return b"".join(out)


def _padded(value: int, size: int) -> bytes:
    """Return a number as an unsigned LEB128 of at least ``size`` bytes."""
    encoded = unsigned(value)
    missing = size - len(encoded)
    return encoded if missing <= 0 else encoded[:-1] + bytes((encoded[-1] | 0x80,)) + b"\x80" * (missing - 1) + b"\x00"


def _appended(content: bytes, entries: list[bytes]) -> bytes:
    """Return a vector with more entries. If possible, its count keeps its number of bytes."""
    count, start = read_unsigned(memoryview(content), 0)
    return b"".join((_padded(count + len(entries), start), content[start:], *entries))


class _Rewriting:
    """The information about a module that rewriting its code needs."""

    def __init__(self, parts: list[tuple[int, memoryview]]) -> None:
        self.types = 0
        self.functions = 0
        self.is_64: list[bool] = []
        self.helpers: list[_Helper] = []
        self.changed = False
        #: Whether all instructions keep their offsets from the start of the code section.
        self.in_place = True
        self._numbers: dict[_Operation, int] = {}
        self._inits = any(identifier == _DATA and len(content) > SLICE for identifier, content in parts)
        for identifier, content in parts:
            if identifier in (_TYPE, _IMPORT, _FUNCTION, _MEMORY):
                self._definitions(identifier, Reader(bytes(content)))

    def _definitions(self, identifier: int, reader: Reader) -> None:
        count = reader.count("definitions")
        if identifier == _FUNCTION:
            self.functions += count
            return
        for _ in range(count):
            if identifier == _TYPE:
                self.types += skip_rec_type(reader)
                continue
            kind = _MEMORY - 3
            if identifier == _IMPORT:
                reader.raw_name("import module name")
                reader.raw_name("import name")
                kind = reader.data[reader.position] if reader.position < reader.end else 0xFF
            flags = reader.data[reader.position + (identifier == _IMPORT)] if reader.position + 1 < reader.end else 0
            if identifier == _IMPORT:
                skip_extern_type(reader)
            else:
                skip_limits(reader)
            if kind == _MEMORY - 3:
                self.is_64.append(bool(flags & 4))
            elif kind == 0:
                self.functions += 1

    def code(self, content: bytes) -> bytes:
        """Return the content of the code section, including the added functions."""
        view = memoryview(content)
        count, start = read_unsigned(view, 0)
        kept = at = start
        out: list[bytes] = []
        for _ in range(min(count, len(content))):
            size, begin = read_unsigned(view, at)
            end = begin + size
            if end > len(content):
                break
            if size > STRETCH or _SUSPECT.search(content, begin, end):
                body = self._body(content, begin, end)
                if body is not None:
                    encoded = _padded(len(body), begin - at)
                    self.in_place &= len(encoded) + len(body) == end - at
                    out += (content[kept:at], encoded, body)
                    kept = end
            at = end
        out.append(content[kept:])
        added = [helper.body for helper in self.helpers]
        head = _padded(count + len(added), start)
        self.in_place &= len(head) == start
        return b"".join((head, *out, *(unsigned(len(body)) + body for body in added)))

    def _body(self, content: bytes, begin: int, end: int) -> bytes | None:
        """Return a body with inserted calls, or None if it stays unchanged."""
        try:
            suspects = [found.start() for found in _SUSPECT.finditer(content, begin, end)]
            last = end if end - begin > STRETCH else suspects[-1]
            operations = _operations(content, begin, end, last)
        except _Unknown:
            # wasmtime rejects the unknown instruction, or else the extra byte after the body's end.
            self.changed = True
            return content[begin:end] + b"\x00"
        out: list[bytes] = []
        at = begin
        for start, after, operation in operations:
            if operation.code == _INIT and not self._inits:
                # No segment is long, but there may be many of these instructions.
                after, operation = start, _AT_A_PAUSE
            out += (content[at:start], b"\x10", _padded(self._helper(operation), min(after - start - 1, 5)))
            at = after
        if not out:
            return None
        self.changed = True
        return b"".join((*out, content[at:end]))

    def _helper(self, operation: _Operation) -> int:
        """Return the index of the function that replaces an instruction."""
        number = self._numbers.get(operation)
        if number is None:
            number = self._numbers[operation] = self.functions + len(self.helpers)
            self.helpers.append(_Helper(operation, self.is_64))
        return number

    def custom(self, content: bytes) -> bytes | None:
        """Return a custom section with names for the added functions, or None if its offsets have become wrong."""
        size, start = read_unsigned(memoryview(content), 0)
        name = content[start : start + size]
        if name.startswith((b"metadata.code.", b".debug_", b"sourceMappingURL")):
            return content if self.in_place else None
        if name != b"name":
            return content
        head = content[: start + size]
        names = [
            unsigned(number) + encode_name(f"wasi-trio:{_NAMES[operation.code]}")
            for operation, number in self._numbers.items()
        ]
        try:
            return head + b"".join(
                section(identifier, _appended(bytes(part), names) if identifier == _NAME_OF_FUNCTIONS else part)
                for identifier, part in sections(memoryview(content)[start + size :])
            )
        except MalformedComponent:
            return content  # wasmtime ignores inconsistent names too
