"""The values that hosts may pass, the errors for invalid values, and the calls of the guest's allocator."""

from __future__ import annotations

import ctypes
import struct
from array import array
from decimal import Decimal
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

import pytest

from tests.component.abi.world import Guest
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import Err, Ok, Some, Variant

UTF8, UTF16, LATIN1 = StringEncoding
GUESTS = t.ResourceType("counter", owner=3)


class Index:
    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def flats(type_: t.ValType, value: Any, guest: Guest | None = None, encoding: StringEncoding = UTF8) -> list[int]:
    return abi.lower_values((type_,), encoding, 16)((guest or Guest()).cx, (value,))


def stored(type_: t.ValType, value: Any, guest: Guest | None = None, encoding: StringEncoding = UTF8) -> bytes:
    """Return the bytes of a value in memory, without the memory that it points to."""
    guest = guest or Guest()
    (pointer,) = abi.lower_values((type_,), encoding, 0)(guest.cx, (value,))
    assert guest.allocations[0] == (abi.alignment(type_), abi.size(type_))
    return bytes(guest.memory.view[pointer : pointer + abi.size(type_)])


def elements(element: t.ValType, values: Any, guest: Guest | None = None) -> bytes:
    guest = guest or Guest()
    pointer, length = flats(t.List(element), values, guest)
    return bytes(guest.memory.view[pointer : pointer + length * abi.size(element)])


# ---- numbers ---------------------------------------------------------------------------------------------

INTEGERS = [
    (t.S8, -(2**7), 2**7 - 1, "b"),
    (t.U8, 0, 2**8 - 1, "B"),
    (t.S16, -(2**15), 2**15 - 1, "h"),
    (t.U16, 0, 2**16 - 1, "H"),
    (t.S32, -(2**31), 2**31 - 1, "i"),
    (t.U32, 0, 2**32 - 1, "I"),
    (t.S64, -(2**63), 2**63 - 1, "q"),
    (t.U64, 0, 2**64 - 1, "Q"),
]


@pytest.mark.parametrize(("type_", "low", "high", "code"), INTEGERS)
def test_integers(type_: t.Primitive, low: int, high: int, code: str) -> None:
    mask = 2**64 - 1 if abi.flatten(type_) == ("i64",) else 2**32 - 1
    for value in (low, high, Index(7), True):
        number = value.value if isinstance(value, Index) else value
        assert flats(type_, value) == [number & mask]
        assert stored(type_, value) == struct.pack("<" + code, number)
        assert elements(t.Tuple((type_,)), [(value,)]) == struct.pack("<" + code, number)
        if type_ != t.U8:
            assert elements(type_, [value]) == struct.pack("<" + code, number)
    for bad in (low - 1, high + 1, 10**100, -(10**100)):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=f"{type_.name} cannot be made from a Python int: "):
                lower(type_, bad)
        with pytest.raises(HostError, match=f"{type_.name} cannot be made from a Python int: "):
            elements(t.Tuple((t.U8, type_)), [(0, low), (0, bad)])
        if type_ != t.U8:
            with pytest.raises(HostError, match=f"{type_.name} cannot be made from a Python int: "):
                elements(type_, [low, bad])
    for wrong in (1.0, "1", None, b"1", Decimal(1)):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=f"{type_.name} cannot be made from a Python {type(wrong).__name__}"):
                lower(type_, wrong)
        if type_ != t.U8:
            with pytest.raises(HostError, match=f"{type_.name} cannot be made from a Python {type(wrong).__name__}"):
                elements(type_, [low, wrong])


@pytest.mark.parametrize(("type_", "code"), [(t.F32, "f"), (t.F64, "d")])
def test_floats(type_: t.Primitive, code: str) -> None:
    for value in (0.0, -0.0, 1.5, float("inf"), 3, Decimal(2)):
        data = struct.pack("<" + code, value)
        assert flats(type_, value) == [int.from_bytes(data, "little")]
        assert stored(type_, value) == data
        assert elements(type_, [value]) == data
    for bad in ("1.0", None, 1j, 10**400):
        for lower in (flats, stored, lambda type_, value: elements(type_, [0.0, value])):
            with pytest.raises(HostError, match=f"{type_.name} cannot be made from a Python {type(bad).__name__}"):
                lower(type_, bad)


def test_a_double_does_not_become_infinite() -> None:
    assert flats(t.F64, 1e300) == [int.from_bytes(struct.pack("<d", 1e300), "little")]
    with pytest.raises(HostError, match="f32 cannot be made from a Python float"):
        flats(t.F32, 1e300)
    with pytest.raises(HostError, match="f32 cannot be made from a Python float"):
        stored(t.F32, 1e300)
    with pytest.raises(HostError, match="f32 cannot be made from a Python float"):
        elements(t.F32, [1e300])


def test_bools() -> None:
    assert flats(t.BOOL, True) == [1]
    assert stored(t.Tuple((t.BOOL, t.BOOL)), (True, False)) == b"\1\0"
    assert elements(t.BOOL, [True, False]) == b"\1\0"
    for bad in (1, 0, None, "x"):
        with pytest.raises(HostError, match="bool cannot be made"):
            flats(t.BOOL, bad)
        with pytest.raises(HostError, match="bool cannot be made"):
            stored(t.BOOL, bad)


def test_chars() -> None:
    assert flats(t.CHAR, "\U0010ffff") == [0x10FFFF]
    assert elements(t.CHAR, ["a", "b"]) == "ab".encode("utf-32-le")
    for bad, detail in [
        ("ab", "2 characters"),
        ("", "0 characters"),
        ("\ud800", "surrogate"),
        (b"a", "bytes"),
        (65, "int"),
    ]:
        for lower in (flats, stored):
            with pytest.raises(HostError, match=f"char cannot be made.*{detail}"):
                lower(t.CHAR, bad)


# ---- strings and lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "text", "alignment", "data", "length"),
    [
        (UTF8, "", 1, b"", 0),
        (UTF8, "æ\U0001f600", 1, "æ\U0001f600".encode(), 6),
        (UTF16, "", 2, b"", 0),
        (UTF16, "æ\U0001f600", 2, "æ\U0001f600".encode("utf-16-le"), 3),
        (LATIN1, "", 2, b"", 0),
        (LATIN1, "a", 2, b"a", 1),
        (LATIN1, "a\xff", 2, b"a\xff", 2),
        (LATIN1, "a\u0100", 2, "a\u0100".encode("utf-16-le"), 2 | 2**31),
        (LATIN1, "\U0001f600", 2, "\U0001f600".encode("utf-16-le"), 2 | 2**31),
    ],
)
def test_strings(encoding: StringEncoding, text: str, alignment: int, data: bytes, length: int) -> None:
    guest = Guest()
    pointer, lowered_length = flats(t.STRING, text, guest, encoding)
    assert lowered_length == length
    assert guest.allocations == [(alignment, len(data))]
    assert bytes(guest.memory.view[pointer : pointer + len(data)]) == data


@pytest.mark.parametrize("encoding", StringEncoding)
def test_not_strings(encoding: StringEncoding) -> None:
    for bad in ("\ud800", "a\udfff", b"bytes", 7, None):
        with pytest.raises(HostError, match=f"string cannot be made from a Python {type(bad).__name__}"):
            flats(t.STRING, bad, encoding=encoding)


@pytest.mark.parametrize(
    "data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), array("B", b"abc"), (ctypes.c_uint8 * 3)(*b"abc")]
)
def test_bytes(data: Any) -> None:
    if isinstance(data, ctypes.Array):
        data = memoryview(data).cast("B")
    assert elements(t.U8, data) == b"abc"
    assert flats(t.List(t.U8, 3), data) == [*b"abc"]
    assert stored(t.List(t.U8, 3), data) == b"abc"


@pytest.mark.parametrize("data", ["abc", [1, 2], 5, None, array("b", [1]), array("I", [1]), memoryview(b"abcd")[::2]])
def test_not_bytes(data: Any) -> None:
    for type_ in (t.List(t.U8), t.List(t.U8, 2)):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=r"list<u8.* cannot be made from a Python"):
                lower(type_, data)


def test_iterables() -> None:
    expected = struct.pack("<3H", 1, 2, 3)
    for values in ([1, 2, 3], (1, 2, 3), range(1, 4), {1: 0, 2: 0, 3: 0}.keys(), array("q", [1, 2, 3]), b"\1\2\3"):
        assert elements(t.U16, values) == expected
        assert stored(t.List(t.U16, 3), values) == expected
        assert flats(t.List(t.U16, 3), values) == [1, 2, 3]
    for bad in ("123", 5, None, {1: 2}):
        for type_ in (t.List(t.U16), t.List(t.U16, 3), t.List(t.STRING)):
            with pytest.raises(HostError, match=r"list<.* cannot be made from a Python"):
                flats(type_, bad)


def test_lists_of_fixed_length() -> None:
    for type_ in (t.List(t.U16, 3), t.List(t.STRING, 3), t.List(t.U8, 3)):
        item: Any = "x" if type_.element == t.STRING else 1
        for count in (0, 2, 4):
            value = bytes(count) if type_.element == t.U8 else [item] * count
            for lower in (flats, stored):
                with pytest.raises(HostError, match=f"{count} items"):
                    lower(type_, value)


def test_longest_list() -> None:
    with pytest.raises(HostError, match="too many to pass at once"):
        flats(t.List(t.U16), range(2**27))


def test_a_list_that_grows_during_lowering_stays_within_its_memory() -> None:
    values: list[Any] = []

    class Growing:
        @property
        def x(self) -> int:
            values.append(self)
            return 1

    values.append(Growing())
    guest = Guest()
    pointer, length = flats(t.List(t.Record((("x", t.U32),))), values, guest)
    assert length == 1
    assert bytes(guest.memory.view[pointer : pointer + 8]) == b"\1\0\0\0\0\0\0\0"


def test_maps() -> None:
    assert elements(t.Tuple((t.U8, t.U16)), {1: 2, 3: 4}.items()) == b"\1\0\2\0\3\0\4\0"
    guest = Guest()
    pointer, length = flats(t.Map(t.U8, t.U16), {1: 2, 3: 4}, guest)
    assert bytes(guest.memory.view[pointer : pointer + length * 4]) == b"\1\0\2\0\3\0\4\0"
    repeated = [(1, 2), (3, 4), (1, 5)]
    pointer, length = flats(t.Map(t.U8, t.U16), repeated, guest)
    assert bytes(guest.memory.view[pointer : pointer + length * 4]) == b"\1\0\2\0\3\0\4\0\1\0\5\0"
    with pytest.raises(HostError):
        flats(t.Map(t.U8, t.U16), [1, 2])
    for bad in (((1, 2),), None):
        with pytest.raises(HostError, match="map<u8, u16> cannot be made from a Python"):
            flats(t.Map(t.U8, t.U16), bad)


# ---- the allocator ---------------------------------------------------------------------------------------


def test_nested_values_are_allocated_in_order_with_their_exact_size() -> None:
    guest = Guest()
    type_ = t.List(t.Tuple((t.STRING, t.Option(t.List(t.U64)))))
    flats(type_, [("abc", [1]), ("", None)], guest)
    assert guest.allocations == [(4, 40), (1, 3), (8, 8), (1, 0)]


def test_spilled_parameters_are_allocated_first() -> None:
    guest = Guest()
    types = (t.STRING, *(t.U64,) * 15)
    (pointer,) = abi.lower_values(types, UTF8, 16)(guest.cx, ("abc", *range(15)))
    assert guest.allocations == [(8, 128), (1, 3)]
    string, length, *numbers = struct.unpack_from("<II15Q", guest.memory.view, pointer)
    assert bytes(guest.memory.view[string : string + length]) == b"abc"
    assert numbers == [*range(15)]


@pytest.mark.parametrize("value", [b"", b"abc"])
@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        ((1 << 16) + 8, "realloc return: beyond end of memory"),
        (2**32 - 8, "realloc return: beyond end of memory"),
        (-8, "realloc return: beyond end of memory"),
        (2**31 + 4, "realloc return: result not aligned"),
        (4, "realloc return: result not aligned"),
    ],
)
def test_bad_allocators(pointer: int, message: str, value: bytes) -> None:
    guest = Guest(1 << 16)
    guest.cx.realloc = lambda _old, _old_size, _alignment, _size: pointer
    with pytest.raises(Trap, match=message):
        flats(t.List(t.U64), [*value], guest)
    with pytest.raises(Trap, match=message):
        abi.lower_values((t.U64,), UTF8, 0)(guest.cx, (1,))
    if "aligned" not in message:
        for type_, given in ((t.STRING, value.decode()), (t.List(t.U8), value)):
            with pytest.raises(Trap, match=message):
                flats(type_, given, guest)
    guest.check_window()


def test_an_allocator_that_grows_the_memory() -> None:
    guest = Guest(1 << 16, stale=1 << 15)
    guest.next = 1 << 15
    assert elements(t.U8, b"abc", guest) == b"abc"
    guest = Guest(1 << 16, stale=1 << 15)
    guest.next = (1 << 16) - 2
    with pytest.raises(Trap, match="realloc return: beyond end of memory"):
        flats(t.List(t.U8), b"abc", guest)
    guest.check_window()


# ---- compound values -------------------------------------------------------------------------------------


def test_records() -> None:
    type_ = t.Record((("a", t.U8), ("class", t.STRING)))
    guest = Guest()
    assert flats(type_, SimpleNamespace(a=1, class_="x", other=2), guest)[0] == 1
    for lower in (flats, stored):
        with pytest.raises(HostError, match=r"record {a, class} cannot be made .* no attribute 'class_'"):
            lower(type_, SimpleNamespace(a=1))
        with pytest.raises(HostError, match=r"record {a, class} cannot be made from a Python dict"):
            lower(type_, {"a": 1, "class": "x"})


def test_tuples() -> None:
    type_ = t.Tuple((t.U8, t.U8))
    assert flats(type_, [1, 2]) == [1, 2]
    for bad in ((1,), (1, 2, 3), "ab", None, {1, 2}):
        for lower in (flats, stored):
            with pytest.raises(HostError, match="tuple<u8, u8> cannot be made from a Python"):
                lower(type_, bad)


VARIANT = t.Variant((("none", None), ("number", t.U32), ("text", t.STRING)))


def test_variants() -> None:
    value: Any
    for value in (Variant("number", 7), ("number", 7)):
        assert flats(VARIANT, value) == [1, 7, 0]
        assert stored(VARIANT, value) == struct.pack("<B3xI4x", 1, 7)
    for value in (Variant("none"), ("none", None), "none"):
        assert flats(VARIANT, value) == [0, 0, 0]
    for bad in (
        Variant("other"),
        "other",
        Variant("none", 1),
        Variant("number"),
        Variant("text", 1),
        "number",
        ("number", 7, 8),
        Variant(["number"], 7),  # type: ignore[arg-type]
        None,
        7,
    ):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=r"variant {none, number, text}|u32|string"):
                lower(VARIANT, bad)


def test_wide_variants() -> None:
    type_ = t.Variant((("none", None), *((f"n{i}", t.U32 if i % 2 else t.STRING) for i in range(40))))
    assert flats(type_, ("n1", 7)) == [2, 7, 0]
    assert stored(type_, ("n1", 7)) == struct.pack("<B3xI4x", 2, 7)
    assert flats(type_, "none") == [0, 0, 0]
    bad: Any
    for bad in (("n1", "7"), ("n0", 7), ("none", 7), "n1"):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=r"variant|u32|string"):
                lower(type_, bad)


class Colour(StrEnum):
    RED = "red"


def test_enums() -> None:
    type_ = t.Enum(("blue", "red"))
    assert flats(type_, "red") == flats(type_, Colour.RED) == [1]
    for bad in ("green", "", 1, None, ["red"]):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=r"enum {blue, red} cannot be made .* unknown case"):
                lower(type_, bad)


def test_flags() -> None:
    type_ = t.Flags(("r", "w", "x"))
    for value in ({"r", "x"}, ["r", "x"], frozenset(["x", "r"]), {"x": 1, "r": 0}):
        assert flats(type_, value) == [5]
        assert stored(type_, value) == b"\5"
    wide = t.Flags(tuple(f"f{i}" for i in range(32)))
    assert flats(wide, ["f31"]) == [2**31]
    for bad in ({"r", "q"}, "rw", 5, None, [["r"]]):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=r"flags {r, w, x} cannot be made"):
                lower(type_, bad)


def test_options() -> None:
    assert flats(t.Option(t.U8), None) == [0, 0]
    assert flats(t.Option(t.U8), 0) == [1, 0]
    assert stored(t.Option(t.U8), 3) == b"\1\3"
    nested = t.Option(t.Option(t.U8))
    assert flats(nested, None) == [0, 0, 0]
    assert flats(nested, Some(None)) == [1, 0, 0]
    assert flats(nested, Some(3)) == [1, 1, 3]
    for lower in (flats, stored):
        with pytest.raises(HostError, match=r"option<option<u8>> cannot be made .* Some\(value\)"):
            lower(nested, 3)
        with pytest.raises(HostError, match="u8 cannot be made from a Python str"):
            lower(t.Option(t.U8), "3")


def test_results() -> None:
    type_ = t.Result(t.U8, t.STRING)
    assert flats(type_, Ok(3)) == [0, 3, 0]
    assert flats(t.Result(None, None), Err()) == [1]

    class NotFound(Err[str]):
        pass

    assert flats(type_, NotFound("x"))[0] == 1
    for bad in (3, None, (3, None), Ok("x"), Err(3), Ok()):
        for lower in (flats, stored):
            with pytest.raises(HostError, match=r"result<u8, string>|u8|string"):
                lower(type_, bad)
    for lower in (flats, stored):
        with pytest.raises(HostError, match="the case error of result<u8> has no payload, but was given a Python str"):
            lower(t.Result(t.U8, None), Err("x"))


def test_which_of_several_numbers_is_wrong() -> None:
    type_ = t.Tuple((t.U8, t.Option(t.F32), t.Option(t.Tuple((t.S16, t.U64)))))
    with pytest.raises(HostError, match="u64 cannot be made from a Python int: -1 is not between"):
        stored(type_, (1, None, (1, -1)))
    with pytest.raises(HostError, match="f32 cannot be made from a Python str"):
        stored(type_, (1, "x", None))
    assert stored(type_, (1, None, None))[0] == 1
