"""Core instructions as regular expressions, from which the decoders of function bodies are built.

https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

LEB = rb"(?:[\x80-\xff]{0,4}+[\x00-\x7f])"
LEB64 = rb"(?:[\x80-\xff]{0,9}+[\x00-\x7f])"
#: Bit 6 of the alignment means that the index of a memory follows.
ALIGNMENT = rb"(?:[\x00-\x3f]|[\x80-\xbf][\x80-\xff]{0,3}+[\x00-\x7f])"
ALIGNMENT_AND_MEMORY = rb"(?:[\x40-\x7f]|[\xc0-\xff][\x80-\xff]{0,3}+[\x00-\x7f])" + LEB


def codes(*ranges: int | tuple[int, int]) -> bytes:
    """Return a pattern for the second part of an opcode, a 32-bit number, in each of its encodings."""
    spans = [(span, span) if isinstance(span, int) else span for span in ranges]
    short = "".join(f"\\x{first:02x}-\\x{last:02x}" for first, last in spans)
    long = "".join(f"\\x{first | 0x80:02x}-\\x{last | 0x80:02x}" for first, last in spans)
    return f"(?:[{short}]|[{long}]\\x80{{0,3}}+\\x00)".encode()


def vectors(memarg: bytes) -> tuple[bytes, ...]:
    """Return patterns for vector and atomic instructions, with ``memarg`` as the pattern of their addresses."""
    return (
        rb"\xfd" + codes((0x00, 0x0B), (0x5C, 0x5D)) + memarg,
        rb"\xfd" + codes(0x0C, 0x0D) + rb"[\x00-\xff]{16}",
        rb"\xfd" + codes((0x15, 0x22)) + rb"[\x00-\xff]",
        rb"\xfd" + codes((0x54, 0x5B)) + memarg + rb"[\x00-\xff]",
        rb"\xfd(?!" + codes((0x00, 0x0D), (0x15, 0x22), (0x54, 0x5D)) + rb")" + LEB,
        rb"\xfe" + codes((0x00, 0x02), (0x10, 0x4E)) + memarg,
        rb"\xfe" + codes(0x03) + rb"[\x00-\xff]",
    )
