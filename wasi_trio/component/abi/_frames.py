"""Which parts of a value in memory can be read or written with one ``struct`` call.

The *frame* of a type is everything whose place and kind are known without looking at the value: the leaves of
records, the discriminants of variants, and the payload too of a variant of which only one case has one (its
bytes are there whichever case it is, so reading them is harmless). What remains are *holes*: payloads of
variants with several kinds of payload, fixed-length lists, and types given a function of their own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from wasi_trio.component._types import Enum, List, Option, Record, Result, Tuple, ValType, Variant
from wasi_trio.component.abi import _layout as layout

#: a type heavier than this is not lifted or lowered in line as a part of another
INLINE_WEIGHT = 48
#: nor one heavier than this inside of a type that is itself heavier than INLINE_WEIGHT
SMALL_WEIGHT = 8
#: a variant with more payloads than this finds the code for one in a table
MAX_BRANCHES = 16


@dataclass(frozen=True, slots=True)
class Slot:
    """A number of ``struct`` kind ``code`` at ``offset``."""

    offset: int
    code: str


@dataclass(frozen=True, slots=True)
class Hole:
    """Something that starts at ``offset`` and is read and written by itself."""

    offset: int


class Inlining:
    """Decides, within the code for one root type, which of its parts get functions of their own.

    This bounds the size and the nesting of generated code by the size of a type's definition, which shares
    parts, where the type written out in full can be larger exponentially.
    """

    __slots__ = ("limit",)

    def __init__(self, root_weight: int) -> None:
        self.limit = INLINE_WEIGHT if root_weight <= INLINE_WEIGHT else SMALL_WEIGHT

    def separate(self, type_: ValType) -> bool:
        return layout.weight(type_) > self.limit

    def only_payload(self, type_: Variant | Enum | Option | Result) -> ValType | None:
        """The payload that belongs to the frame: that of the one case that has any."""
        payloads = [t for _, t in layout.cases(type_) if t is not None]
        return payloads[0] if len(payloads) == 1 and not self.separate(payloads[0]) else None

    def frame(self, type_: ValType, offset: int = 0) -> list[Slot | Hole]:
        """The frame of a type whose own code is being written (so it is not asked whether it is separate)."""
        codes = layout.leaf_codes(type_)
        if codes is not None:
            return [Slot(offset + 4 * i, code) for i, code in enumerate(codes)]
        match type_:
            case Record() | Tuple():
                parts: list[Slot | Hole] = []
                for t, start in zip(layout.fields(type_), layout.offsets(type_), strict=True):
                    parts += self.part(t, offset + start)
                return parts
            case Variant() | Enum() | Option() | Result():
                discriminant = Slot(offset, layout.UNSIGNED_CODES[layout.discriminant_size(type_)])
                payload = self.only_payload(type_)
                payload_offset = offset + layout.payload_offset(type_)
                if payload is not None:
                    return [discriminant, *self.frame(payload, payload_offset)]
                if any(t is not None for _, t in layout.cases(type_)):
                    return [discriminant, Hole(payload_offset)]
                return [discriminant]
            case _:
                assert isinstance(type_, List) and type_.length is not None
                return [Hole(offset)]

    def part(self, type_: ValType, offset: int) -> list[Slot | Hole]:
        """The frame of a type inside of another."""
        return [Hole(offset)] if self.separate(type_) else self.frame(type_, offset)


def struct_of(slots: list[Slot], start: int, end: int | None = None) -> struct.Struct:
    """The ``Struct`` over ``slots`` that begins at offset ``start``, padded up to ``end`` if that is given."""
    codes, position = ["<"], start
    for slot in slots:
        if slot.offset > position:
            codes.append(f"{slot.offset - position}x")
        codes.append(slot.code)
        position = slot.offset + struct.calcsize("<" + slot.code)
    if end is not None and end > position:
        codes.append(f"{end - position}x")
    return struct.Struct("".join(codes))
