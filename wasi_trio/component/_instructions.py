"""Core instructions as regular expressions: the pieces from which bodies of functions are decoded.

https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

LEB = rb"(?:[\x80-\xff]{0,4}+[\x00-\x7f])"
LEB64 = rb"(?:[\x80-\xff]{0,9}+[\x00-\x7f])"
#: bit 6 of the alignment says that the index of a memory follows
ALIGNMENT = rb"(?:[\x00-\x3f]|[\x80-\xbf][\x80-\xff]{0,3}+[\x00-\x7f])"
ALIGNMENT_AND_MEMORY = rb"(?:[\x40-\x7f]|[\xc0-\xff][\x80-\xff]{0,3}+[\x00-\x7f])" + LEB


def codes(*ranges: int | tuple[int, int]) -> bytes:
    """The second part of an opcode, which is a number of 32 bits, in each of its encodings."""
    spans = [(span, span) if isinstance(span, int) else span for span in ranges]
    short = "".join(f"\\x{first:02x}-\\x{last:02x}" for first, last in spans)
    long = "".join(f"\\x{first | 0x80:02x}-\\x{last | 0x80:02x}" for first, last in spans)
    return f"(?:[{short}]|[{long}]\\x80{{0,3}}+\\x00)".encode()


def vectors(memarg: bytes) -> tuple[bytes, ...]:
    """Instructions on vectors, and atomic ones, whose addresses are given as ``memarg``."""
    return (
        rb"\xfd" + codes((0x00, 0x0B), (0x5C, 0x5D)) + memarg,
        rb"\xfd" + codes(0x0C, 0x0D) + rb"[\x00-\xff]{16}",
        rb"\xfd" + codes((0x15, 0x22)) + rb"[\x00-\xff]",
        rb"\xfd" + codes((0x54, 0x5B)) + memarg + rb"[\x00-\xff]",
        rb"\xfd" + LEB,
        rb"\xfe" + codes((0x00, 0x02), (0x10, 0x4E)) + memarg,
        rb"\xfe" + codes(0x03) + rb"[\x00-\xff]",
    )
