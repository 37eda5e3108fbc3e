"""Core modules whose large memory operations can be interrupted.

wasmtime looks at its epoch where a function begins and where a loop goes round, so one ``memory.fill`` of a gigabyte is
done in one go, and with it everything else waits. So ``memory.fill``, ``memory.copy`` and ``memory.init`` are replaced
by calls of functions that are added to the module: these do the very instruction for what is short, and slices of it in
a loop for what is long. A table of a million elements is copied in milliseconds, and a page of memory is found in
microseconds, but a function without a loop may do either thousands of times. So a call of an empty function, at which
wasmtime looks at its epoch, goes before each instruction on tables, and in between where a function is long.

The instructions have to be found exactly, so the bodies are decoded, by one regular expression that takes all
instructions but those with vectors in them. What it does not know is made invalid, so that nothing gets past it.

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
from wasi_trio.component._wasm import read_unsigned, section, sections, unsigned
from wasi_trio.lazy import Pattern

#: bytes that one instruction may set or copy; where each page is touched for the first time, that is about 1 ms
SLICE = 256 << 10

#: bytes of instructions in a row without a look at the epoch: some 3,200 of them may each find a page of memory that is
#: touched for the first time, which on a slow system takes 15 µs
STRETCH = 32 << 10

_PREAMBLE = 8
_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _MEMORY, _CODE, _DATA = 0, 1, 2, 3, 5, 10, 11
_NAME_OF_FUNCTIONS = 1
_INIT, _COPY, _FILL = 0x08, 0x0A, 0x0B
#: no instruction: a place to look at the epoch
_PAUSE = -1
_NAMES = {_INIT: "memory.init", _COPY: "memory.copy", _FILL: "memory.fill", _PAUSE: "pause"}
_I32, _I64 = 0x7F, 0x7E

# ---- instructions ----------------------------------------------------------------------------------------

#: an abstract heap type is one byte, which is a number of one byte as well; shared ones (0x65) have two
_HEAP = rb"(?:(?!\x65)" + LEB + rb")"
_VALUE = rb"(?:[\x63\x64]" + _HEAP + rb"|[\x66-\x7f])"
_BLOCK = rb"(?:[\x63\x64]" + _HEAP + rb"|(?![\x63-\x65])" + LEB + rb")"
_MEMARG = rb"(?:" + ALIGNMENT + rb"|" + ALIGNMENT_AND_MEMORY + rb")" + LEB64

#: a constant length below 8 KiB and what it is the length of: that is short, and stays
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
    # conversions that saturate, arithmetic of 128 bits; segments and tables
    rb"\xfc" + codes((0x00, 0x07), (0x13, 0x16)),
    rb"\xfc" + codes(0x09, 0x0D, (0x0F, 0x10)) + LEB,
    *vectors(_MEMARG),
    # objects
    rb"\xfb" + codes((0x00, 0x01), 0x06, 0x07, (0x0B, 0x0E), 0x10) + LEB,
    rb"\xfb" + codes((0x02, 0x05), (0x08, 0x0A), (0x11, 0x13)) + LEB + LEB,
    rb"\xfb" + codes(0x0F, (0x1A, 0x1E)),
    rb"\xfb" + codes((0x14, 0x17)) + _HEAP,
    rb"\xfb" + codes((0x18, 0x19)) + rb"[\x00-\xff]" + LEB + _HEAP + _HEAP,
)
#: Some hundred instructions of those that it takes to have decoded. It goes back over none, but a repetition that says
#: so (``*+``) is one that the first releases of CPython 3.11 do wrong (CPython issue 106052).
_RUN = Pattern(rb"(?:" + rb"|".join(_SIMPLE) + rb"){0,500}")
_BULK = re.compile(rb"\xfc" + codes(_INIT, _COPY, _FILL))
_TABLE = re.compile(rb"\xfc(?:" + codes(0x0C, 0x0E) + LEB + rb"|" + codes(0x11) + rb")" + LEB)
#: the opcodes of those two, wherever
_SUSPECT = re.compile(rb"\xfc" + codes(_INIT, _COPY, _FILL, 0x0C, 0x0E, 0x11))
_NUMBER = re.compile(LEB)
_LOCALS = re.compile(LEB + _VALUE)
_VALUE_TYPE = re.compile(_VALUE)
_BLOCK_TYPE = re.compile(_BLOCK)
_CATCH = re.compile(rb"[\x00\x01]" + LEB + LEB + rb"|[\x02\x03]" + LEB)
_BR_TABLE, _SELECT, _TRY_TABLE = 0x0E, 0x1C, 0x1F


class _Unknown(Exception):
    """What is in a body cannot be decoded."""


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
    """A memory instruction: what follows ``0xfc`` in its encoding."""

    code: int
    indices: tuple[int, ...]


_AT_A_PAUSE = _Operation(_PAUSE, ())


def _operations(data: bytes, at: int, end: int, last: int) -> list[tuple[int, int, _Operation]]:
    """The memory instructions of a body, and places to pause: where each begins and ends. Raises _Unknown.

    It is decoded as far as ``last``.
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


def _signed(value: int) -> bytes:
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


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
    """The function in place of an instruction: it has its operands, and does the same in slices."""

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
        return (b"\x41" if kind == _I32 else b"\x42") + _signed(SLICE)

    def _length_as(self, kind: int) -> bytes:
        """The length, as a number that can be added to an address."""
        return self._get(_N) + (b"\xad" if kind == _I64 and self.types[_N] == _I32 else b"")

    def _moved(self, local: int, change: dict[int, bytes]) -> bytes:
        kind = self.types[local]
        return self._get(local) + self._slice(kind) + change[kind] + b"\x21" + bytes((local,))

    def _last(self, local: int) -> bytes:
        """The address of the last byte."""
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
        # What is short is done whole, and so is what wraps around: it traps.
        parts = [self._get(_N), self._slice(kind), _LE[kind], self._wraps(_D), _OR]
        if code == _COPY:
            parts += [self._wraps(_S), _OR]
        elif code == _INIT:
            parts += [self._get(_S), self._get(_N), _ADD[_I32], self._get(_S), _LT[_I32], _OR]
        parts += [_IF, whole, _RETURN, _END]
        # Nothing is written if any of it is out of bounds.
        parts.append(self._touch(_D, indices[1] if code == _INIT else indices[0]))
        if code == _COPY:
            parts.append(self._touch(_S, indices[1]))
        elif code == _INIT:
            parts += [self._get(_D), self._get(_S), self._get(_N), _ADD[_I32], b"\x41\x00", self.instruction]
        if code == _COPY and self.types[_D] == self.types[_S]:
            # Two memories may be one that is imported twice, so the direction is that for overlaps there too.
            forward, backward = self._forward((_D, _S)), self._backward()
            parts += [self._get(_D), self._get(_S), _LE[self.types[_D]], _IF, forward, _ELSE, backward, _END]
        else:
            parts.append(self._forward((_D,) if code == _FILL else (_D, _S)))
        return b"\x00" + b"".join(parts) + whole + _END


# ---- modules ---------------------------------------------------------------------------------------------


def sliced(code: bytes) -> bytes:
    """A core module with its memory operations in slices of at most ``SLICE`` bytes; itself if it has none.

    An invalid module gives an invalid one, for wasmtime to refuse, with one exception: a body that names a function or
    a type one past the last names what is added here. That is harmless, as it does what an instruction would do.
    """
    try:
        parts = sections(memoryview(code)[_PREAMBLE:])
    except MalformedComponent:
        return code  # which is refused
    if not any(_may_change(content) for identifier, content in parts if identifier == _CODE):
        return code
    try:
        return _sliced(code, parts)
    except MalformedComponent:
        # What is in a section does not add up. A section that is cut off makes sure that it is refused.
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
    """A number as an unsigned LEB128 of at least so many bytes."""
    encoded = unsigned(value)
    missing = size - len(encoded)
    return encoded if missing <= 0 else encoded[:-1] + bytes((encoded[-1] | 0x80,)) + b"\x80" * (missing - 1) + b"\x00"


def _appended(content: bytes, entries: list[bytes]) -> bytes:
    """A vector with more entries; its count takes as many bytes as before, if it can."""
    count, start = read_unsigned(memoryview(content), 0)
    return b"".join((_padded(count + len(entries), start), content[start:], *entries))


class _Rewriting:
    """What is known of a module while its code is rewritten."""

    def __init__(self, parts: list[tuple[int, memoryview]]) -> None:
        self.types = 0
        self.functions = 0
        self.is_64: list[bool] = []
        self.helpers: list[_Helper] = []
        self.changed = False
        #: whether instructions are where they were, counted from the start of the code section
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
        """The content of the code section, with the functions that are added."""
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
        """A body with calls in it; None if it stays as it is."""
        try:
            suspects = [found.start() for found in _SUSPECT.finditer(content, begin, end)]
            last = end if end - begin > STRETCH else suspects[-1]
            operations = _operations(content, begin, end, last)
        except _Unknown:
            # wasmtime says what is wrong with it, or else that it goes on after its end.
            self.changed = True
            return content[begin:end] + b"\x00"
        out: list[bytes] = []
        at = begin
        for start, after, operation in operations:
            if operation.code == _INIT and not self._inits:
                # There are no long segments, but there may be many.
                after, operation = start, _AT_A_PAUSE
            out += (content[at:start], b"\x10", _padded(self._helper(operation), min(after - start - 1, 5)))
            at = after
        if not out:
            return None
        self.changed = True
        return b"".join((*out, content[at:end]))

    def _helper(self, operation: _Operation) -> int:
        """The index of the function in place of an instruction."""
        number = self._numbers.get(operation)
        if number is None:
            number = self._numbers[operation] = self.functions + len(self.helpers)
            self.helpers.append(_Helper(operation, self.is_64))
        return number

    def custom(self, content: bytes) -> bytes | None:
        """A custom section, with names for what is added; None for one that is about places that have moved."""
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
            return content  # as wasmtime does, which ignores names that do not add up
