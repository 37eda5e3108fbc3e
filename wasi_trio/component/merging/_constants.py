"""Evaluates constant expressions: the values of globals, and the positions of segments."""

from __future__ import annotations

from collections.abc import Callable

from wasi_trio.component._reader import Reader
from wasi_trio.component._wasm import signed, unsigned
from wasi_trio.component.merging._modules import FUNC, GLOB, REF_FUNC, REFERENCE_TYPES, Merged, Module, Unmergeable

_FOLDED: dict[int, tuple[int, Callable[[int, int], int]]] = {
    0x6A: (32, int.__add__), 0x6B: (32, int.__sub__), 0x6C: (32, int.__mul__),
    0x7C: (64, int.__add__), 0x7D: (64, int.__sub__), 0x7E: (64, int.__mul__),
}  # fmt: skip


def _signed_number(data: bytes, at: int, bits: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if byte & 0x40:
        value -= 1 << shift
    return value, at


def _encoded(value: int, bits: int) -> bytes:
    """Return a constant of ``bits`` bits as an instruction."""
    value &= (1 << bits) - 1
    if value >> bits - 1:
        value -= 1 << bits
    return (b"\x41" if bits == 32 else b"\x42") + signed(value)


def constant(reader: Reader, module: Module, merged: Merged) -> bytes:
    """Read a constant expression. Return the same expression for the merged module, without its end.

    The value of another module's constant global replaces the reference, and arithmetic on such values is done here. So
    the positions of segments are plain numbers if possible, because wasmtime prepares memories and tables from segments
    at known positions.
    """
    parts: list[bytes] = []
    #: The value of each part that is a number.
    numbers: list[tuple[int, int] | None] = []
    data = reader.data
    while True:
        start = reader.position
        opcode = reader.byte("instruction")
        if opcode == 0x0B:
            return b"".join(parts)
        if opcode in (0x41, 0x42):
            bits = 32 if opcode == 0x41 else 64
            value, reader.position = _signed_number(data, reader.position, bits)
            parts.append(_encoded(value, bits))
            numbers.append((bits, value))
        elif opcode == 0x23:
            expression = merged.values[module.maps[GLOB][reader.u32("global index")]]
            if expression is None:
                raise Unmergeable
            parts.append(expression)
            number = expression[:1] in (b"\x41", b"\x42") and len(_only(expression)) == len(expression)
            bits = 32 if expression[:1] == b"\x41" else 64
            numbers.append((bits, _signed_number(expression, 1, bits)[0]) if number else None)
        elif opcode in _FOLDED and len(numbers) > 1 and numbers[-1] is not None and numbers[-2] is not None:
            bits, act = _FOLDED[opcode]
            value = act(numbers[-2][1], numbers[-1][1]) % (1 << bits)
            parts[-2:] = [_encoded(value, bits)]
            numbers[-2:] = [(bits, value)]
        elif opcode in _FOLDED:
            raise Unmergeable
        elif opcode in (0x43, 0x44):
            reader.position += 4 if opcode == 0x43 else 8
            parts.append(data[start : reader.position])
            numbers.append(None)
        elif opcode == 0xFD and reader.u32("vector instruction") == 0x0C:
            reader.position += 16
            parts.append(data[start : reader.position])
            numbers.append(None)
        elif opcode == 0xD0 and reader.byte("heap type") in REFERENCE_TYPES:
            parts.append(data[start : reader.position])
            numbers.append(None)
        elif opcode == REF_FUNC:
            index = module.maps[FUNC][reader.u32("function index")]
            merged.referenced.add(index)
            parts.append(bytes((REF_FUNC,)) + unsigned(index))
            numbers.append(None)
        else:
            raise Unmergeable


def _only(expression: bytes) -> bytes:
    """Return the first instruction of an expression that begins with a constant number."""
    return expression[: _signed_number(expression, 1, 64)[1]]
