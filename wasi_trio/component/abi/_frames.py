"""The parts of a value in memory that one ``struct`` call can read or write.

The *frame* of a type consists of the parts whose offset and kind do not depend on the value. These are the leaves of
records, the discriminants of variants, and the payload of a variant that has a payload in only one case. Reading that
payload is harmless in the other cases, because its bytes exist in all of them. The other parts are *holes*: payloads of
variants with several payload types, fixed-length lists, and types that have their own function.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wasi_trio.component._types import Enum, List, Option, Record, Result, Tuple, ValType, Variant
from wasi_trio.component.abi import _layout as layout

#: Maximum weight of a type that is lifted or lowered inline as part of another type.
INLINE_WEIGHT = 48
#: The same inside a type that is itself heavier than INLINE_WEIGHT.
SMALL_WEIGHT = 8
#: Maximum number of payloads for which a variant's code has branches. Beyond it, the code uses a table.
MAX_BRANCHES = 16


class Slot(NamedTuple):
    """A number with the ``struct`` format ``code`` at ``offset``."""

    offset: int
    code: str


class Hole(NamedTuple):
    """A part at ``offset`` that is read and written separately."""

    offset: int


class Inlining:
    """Decides which parts of one root type get their own functions.

    A type's definition shares parts, so the type written out in full can be exponentially larger. This decision bounds
    the size and the nesting of generated code by the size of the definition.
    """

    __slots__ = ("limit",)

    def __init__(self, root_weight: int) -> None:
        self.limit = INLINE_WEIGHT if root_weight <= INLINE_WEIGHT else SMALL_WEIGHT

    def separate(self, type_: ValType) -> bool:
        return layout.weight(type_) > self.limit

    def only_payload(self, type_: Variant | Enum | Option | Result) -> ValType | None:
        """Return the payload that belongs to the frame: the only payload of the type, if it is inline."""
        payloads = [t for _, t in layout.cases(type_) if t is not None]
        return payloads[0] if len(payloads) == 1 and not self.separate(payloads[0]) else None

    def frame(self, type_: ValType, offset: int = 0) -> list[Slot | Hole]:
        """Return the frame of a type whose own code is being written. Whether the type is separate does not matter."""
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
        """Return the frame of a type that is part of another."""
        return [Hole(offset)] if self.separate(type_) else self.frame(type_, offset)


def struct_of(slots: list[Slot], start: int, end: int | None = None) -> struct.Struct:
    """Return the ``Struct`` for ``slots``, from offset ``start`` and padded to ``end`` if that is given."""
    codes, position = ["<"], start
    for slot in slots:
        if slot.offset > position:
            codes.append(f"{slot.offset - position}x")
        codes.append(slot.code)
        position = slot.offset + struct.calcsize("<" + slot.code)
    if end is not None and end > position:
        codes.append(f"{end - position}x")
    return struct.Struct("".join(codes))
