"""Debugging information for a guest in WAT: DWARF 4 that maps all code of a module to one line of one file."""

from __future__ import annotations

import struct

import wasmtime

from tests.guests import wat

#: DW_TAG_compile_unit without children: DW_AT_name, DW_AT_stmt_list, DW_AT_low_pc, DW_AT_high_pc and their forms.
_ABBREVIATIONS = bytes([1, 0x11, 0, 0x03, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0])
#: Number of bytes of code that the information covers.
_SIZE = 0x1000


def with_lines(guest: str, file: str, line: int, column: int) -> bytes:
    """Return the component ``wat/<guest>.wat`` with its first core module's code mapped to that line."""
    sections = "".join(
        '\n(@custom "{}" "{}")'.format(name, "".join(f"\\{byte:02x}" for byte in content))
        for name, content in (
            (".debug_abbrev", _ABBREVIATIONS),
            (".debug_info", _unit(file)),
            (".debug_line", _lines(file, line, column)),
        )
    )
    text = wat.source(guest)
    begin = text.index("(core module $Main")
    depth, end = 0, begin
    while True:
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            break
        end += 1
    return bytes(wasmtime.wat2wasm(text[:end] + sections + text[end:]))


def _sized(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def _unit(file: str) -> bytes:
    header = struct.pack("<HIB", 4, 0, 4)  # version, abbreviations, size of an address
    return _sized(header + bytes([1]) + file.encode() + b"\0" + struct.pack("<III", 0, 0, _SIZE))


def _lines(file: str, line: int, column: int) -> bytes:
    files = b"\0" + file.encode() + b"\0\0\0\0" + b"\0"
    # The header describes opcodes as compilers do.
    header = bytes([1, 1, 1]) + struct.pack("b", -5) + bytes([14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]) + files
    program = bytes([0, 5, 2]) + struct.pack("<I", 0)  # DW_LNE_set_address
    program += bytes([3, line - 1, 5, column, 1])  # DW_LNS_advance_line, set_column, copy
    program += bytes([2, 0x80, _SIZE >> 7, 0, 1, 1])  # DW_LNS_advance_pc, DW_LNE_end_sequence
    return _sized(struct.pack("<HI", 4, len(header)) + header + program)
