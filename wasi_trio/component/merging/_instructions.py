"""Renumbers the indices in the instructions of a function's body."""

from __future__ import annotations

from wasi_trio.component._instructions import ALIGNMENT, LEB, LEB64, codes, vectors
from wasi_trio.component._wasm import read_unsigned, signed, unsigned
from wasi_trio.component.merging._modules import (
    FUNC,
    GLOB,
    REF_FUNC,
    TAB,
    VALUE_TYPES,
    Module,
    Unmergeable,
    read_number,
)
from wasi_trio.lazy import Pattern

_PLAIN_VALUE = rb"[\x6f\x70\x7b-\x7f]"
_MEMARG = ALIGNMENT + LEB64
#: Instructions that are the same in a merged module.
_KEPT = (
    rb"[\x0c\x0d\x20-\x22\x41]" + LEB,
    rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]",
    rb"[\x28-\x3e]" + _MEMARG,
    rb"[\x02-\x04](?:\x40|" + _PLAIN_VALUE + rb")",
    rb"[\x3f\x40]\x00",
    rb"\x42" + LEB64,
    rb"\x43[\x00-\xff]{4}",
    rb"\x44[\x00-\xff]{8}",
    rb"\x1c\x01" + _PLAIN_VALUE,
    rb"\xd0[\x6f\x70]",
    rb"\xfc" + codes((0x00, 0x07), (0x13, 0x16)),
    rb"\xfc" + codes(0x0A) + rb"\x00\x00",
    rb"\xfc" + codes(0x0B) + rb"\x00",
    *vectors(_MEMARG),
)
#: Instructions that refer to an item by index.
_INDEXED = (
    rb"[\x10\x12\xd2\x23-\x26]" + LEB,
    rb"[\x11\x13]" + LEB + LEB,
    rb"[\x02-\x04](?:[\x00-\x3f]|[\x80-\xff]{1,4}+[\x00-\x3f])",
    rb"\xfc" + codes(0x08) + LEB + rb"\x00",
    rb"\xfc" + codes(0x09, 0x0D, (0x0F, 0x11)) + LEB,
    rb"\xfc" + codes(0x0C, 0x0E) + LEB + LEB,
)
#: Matches at most 500 instructions that stay, and one that changes. See ``_bulk`` for why the repetition is bounded.
_RUN = Pattern(rb"(?:" + rb"|".join(_KEPT) + rb"){0,500}(" + rb"|".join(_INDEXED) + rb")?")
_BR_TABLE = 0x0E


class Instructions(dict[bytes, bytes]):
    """Maps a module's instructions with an index to the same instructions in the merged module."""

    def __init__(self, module: Module, referenced: set[int]) -> None:
        self._module = module
        self._referenced = referenced

    def __missing__(self, instruction: bytes) -> bytes:
        made = self[instruction] = self._renumbered(memoryview(instruction))
        return made

    def _renumbered(self, instruction: memoryview) -> bytes:
        module = self._module
        opcode = instruction[0]
        head = bytes((opcode,))
        code, at = 0, 1
        if opcode == 0xFC:
            code, at = read_unsigned(instruction, 1)
            head += bytes((code,))
        first, at = read_unsigned(instruction, at)
        second = read_unsigned(instruction, at)[0] if at < len(instruction) else 0
        if opcode in (0x10, 0x12, REF_FUNC):
            index = module.maps[FUNC][first]
            if opcode == REF_FUNC:
                self._referenced.add(index)
            return head + unsigned(index)
        if opcode in (0x23, 0x24):
            return head + unsigned(module.maps[GLOB][first])
        if opcode in (0x25, 0x26) or code in (0x0F, 0x10, 0x11):
            return head + unsigned(module.maps[TAB][first])
        if opcode in (0x11, 0x13):
            return head + unsigned(module.types + first) + unsigned(module.maps[TAB][second])
        if opcode in (0x02, 0x03, 0x04):
            return head + signed(module.types + first)
        if code == 0x08:
            return head + unsigned(module.data + first) + b"\x00"
        if code == 0x09:
            return head + unsigned(module.data + first)
        if code == 0x0D:
            return head + unsigned(module.elements + first)
        if code == 0x0C:
            return head + unsigned(module.elements + first) + unsigned(module.maps[TAB][second])
        return head + unsigned(module.maps[TAB][first]) + unsigned(module.maps[TAB][second])


def renumber(content: bytes, at: int, end: int, known: Instructions) -> bytes:
    """Return the body of a function in the merged module."""
    out: list[bytes] = []
    start = at
    groups, at = read_number(content, at)
    for _ in range(groups):
        _, at = read_number(content, at)
        if content[at] not in VALUE_TYPES:
            raise Unmergeable
        at += 1
    out.append(content[start:at])
    match = _RUN.match
    while at < end:
        found = match(content, at, end)
        assert found is not None, "the pattern matches the empty string"
        instruction = found[1]
        if instruction is not None:
            out += (content[at : found.start(1)], known[instruction])
            at = found.end()
        elif found.end() > at:
            out.append(content[at : found.end()])
            at = found.end()
        elif content[at] == _BR_TABLE:
            start = at
            labels, at = read_number(content, at + 1)
            for _ in range(labels + 1):
                _, at = read_number(content, at)
            out.append(content[start:at])
        else:
            raise Unmergeable
    return b"".join(out)
