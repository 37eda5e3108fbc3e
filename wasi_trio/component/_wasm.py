"""Bits of the binary format that modules and components share, for taking them apart and putting them together."""

from __future__ import annotations

from wasi_trio.component._errors import MalformedComponent


def sections(data: memoryview) -> list[tuple[int, memoryview]]:
    """The sections of a module or component, whose preamble is left off: identifier and content of each.

    Raises MalformedComponent where they do not add up.
    """
    found = []
    at = 0
    while at < len(data):
        identifier = data[at]
        size, start = read_unsigned(data, at + 1)
        at = start + size
        if at > len(data):
            raise MalformedComponent("a section reaches past the end of what it is in")
        found.append((identifier, data[start:at]))
    return found


def read_unsigned(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned LEB128 of 32 bits, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise MalformedComponent("a section's size is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedComponent("a section's size is no 32-bit number")


def unsigned(value: int) -> bytes:
    """A number as an unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def section(identifier: int, content: bytes | memoryview) -> bytes:
    """A section with its identifier and size."""
    return b"".join((bytes([identifier]), unsigned(len(content)), content))


def name(text: str) -> bytes:
    """A name: its size in UTF-8, and that."""
    encoded = text.encode()
    return unsigned(len(encoded)) + encoded
