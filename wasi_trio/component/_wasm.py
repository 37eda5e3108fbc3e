"""Reads and writes the elements of the binary format that modules and components share."""

from __future__ import annotations

from wasi_trio.component._errors import MalformedComponent


def sections(data: memoryview) -> list[tuple[int, memoryview]]:
    """Return the identifier and content of each section of a module or component without its preamble.

    Raises MalformedComponent if the sections are inconsistent.
    """
    found = []
    at = 0
    while at < len(data):
        identifier = data[at]
        size, start = read_unsigned(data, at + 1)
        at = start + size
        if at > len(data):
            raise MalformedComponent("a section extends past the end of its container")
        found.append((identifier, data[start:at]))
    return found


def read_unsigned(data: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned 32-bit LEB128 number and the position after it."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise MalformedComponent("a section's size is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedComponent("a section's size is not a 32-bit number")


def unsigned(value: int) -> bytes:
    """Return a number as an unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Encode a number as a signed LEB128."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def section(identifier: int, content: bytes | memoryview) -> bytes:
    """Return a section with its identifier and size."""
    return b"".join((bytes([identifier]), unsigned(len(content)), content))


def name(text: str) -> bytes:
    """Return a name with its size in UTF-8."""
    encoded = text.encode()
    return unsigned(len(encoded)) + encoded
