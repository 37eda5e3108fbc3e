"""The values that guests may pass, and the traps for invalid values."""

from __future__ import annotations

import ctypes
import math
import struct
import traceback
from typing import Any, cast

import pytest

from tests.component.abi.world import Converting, Guest, Slots
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._context import LIFT_FUEL
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import ResourceHandle
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import Err, GuestResource, Ok, Some, Variant
from wasi_trio.component.abi._maps import to_pairs

UTF8, UTF16, LATIN1 = StringEncoding
GARBAGE = 0xDEAD_BEEF << 32
FILE = t.ResourceType("file")
OTHER = t.ResourceType("other")
GUESTS = t.ResourceType("counter", owner=3)


def lift(
    guest: Guest,
    types: t.ValType | tuple[t.ValType, ...],
    *flats: int,
    encoding: StringEncoding = UTF8,
    max_flat: int = 16,
    track_lends: bool = True,
) -> Any:
    """Lift values from core values whose unused bits are garbage. A single type yields a single value."""
    several = isinstance(types, tuple)
    function = abi.lift_values(
        types if isinstance(types, tuple) else (types,), encoding, max_flat, stride=2, track_lends=track_lends
    )
    slots = Slots([flat if flat >= 2**32 else flat | GARBAGE for flat in flats], stride=2)
    lifted = function(guest.cx, slots)
    return lifted if several else lifted[0]


def bits(value: float, code: str) -> int:
    return int.from_bytes(struct.pack("<" + code, value), "little")


# ---- numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "raw", "expected"),
    [
        (t.BOOL, 0, False),
        (t.BOOL, 1, True),
        (t.BOOL, 0x100, True),
        (t.U8, 0x1FF, 255),
        (t.S8, 0x80, -128),
        (t.S8, 0xFFFF_FF7F, 127),
        (t.U16, 0x1_FFFF, 0xFFFF),
        (t.S16, 0x8000, -(2**15)),
        (t.U32, 2**32 - 1, 2**32 - 1),
        (t.S32, 2**31, -(2**31)),
        (t.S32, 2**31 - 1, 2**31 - 1),
        (t.S64, 2**64 - 1, -1),
        (t.S64, 2**63, -(2**63)),
        (t.U64, 2**64 - 1, 2**64 - 1),
        (t.F32, bits(-1.5, "f"), -1.5),
        (t.F64, bits(0.1, "d"), 0.1),
        (t.CHAR, 0x41, "A"),
        (t.CHAR, 0xD7FF, "\ud7ff"),
        (t.CHAR, 0xE000, "\ue000"),
        (t.CHAR, 0x10FFFF, "\U0010ffff"),
        (t.Flags(("r", "w")), 0b10, frozenset(["w"])),
        (t.Flags(("r", "w")), 0xFFFF_FFFC, frozenset()),
        (t.Enum(("a", "b")), 1, "b"),
    ],
)
def test_numbers(type_: t.ValType, raw: int, expected: Any) -> None:
    lifted = lift(Guest(), type_, raw)
    assert lifted == expected
    assert type(lifted) is type(expected)


def test_not_a_number() -> None:
    assert math.isnan(lift(Guest(), t.F32, 0x7FC0_0001))
    assert math.isnan(lift(Guest(), t.F64, 0x7FF8_0000_0000_0001))


def test_core_values_of_the_engine() -> None:
    """An array of raw 16-byte values, as a host callback gets it."""
    raw = (ctypes.c_uint64 * 8)(2**64 - 1, 99, 5 | GARBAGE, 99, bits(2.5, "d"), 99, bits(2.5, "f") | GARBAGE, 99)
    flats = ctypes.cast(raw, ctypes.POINTER(ctypes.c_uint64))
    function = abi.lift_values((t.S64, t.U32, t.F64, t.F32), UTF8, 16, stride=2)
    assert function(Guest().cx, flats) == (-1, 5, 2.5, 2.5)


@pytest.mark.parametrize("point", [0xD800, 0xDFFF, 0x110000, 2**32 - 1])
def test_not_a_char(point: int) -> None:
    guest = Guest()
    message = "invalid `char` bit pattern"
    with pytest.raises(Trap, match=message):
        lift(guest, t.CHAR, point)
    with pytest.raises(Trap, match=message):
        lift(guest, (t.CHAR,), guest.put(struct.pack("<I", point), 4), max_flat=0)
    with pytest.raises(Trap, match=message):
        lift(guest, t.List(t.CHAR), guest.put(struct.pack("<II", 65, point), 4), 2)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (t.Enum(("a", "b", "c")), "enum"),
        (t.Option(t.U8), "option"),
        (t.Result(t.U8, None), "result"),
        (t.Result(None, None), "result"),
        (t.Result(t.U8, t.STRING), "result"),
        (t.Variant((("a", None), ("b", t.STRING), ("c", t.U8))), "variant"),
        (t.Variant((("a", t.U8), ("b", t.U8))), "variant"),
        (t.Variant(tuple((f"n{i}", t.U8) for i in range(40))), "variant"),
        (t.Variant(tuple((f"n{i}", t.U8 if i < 39 else None) for i in range(40))), "variant"),
    ],
)
def test_discriminants(type_: t.ValType, kind: str) -> None:
    guest = Guest()
    count = {"enum": 3, "option": 2, "result": 2}.get(kind) or len(type_.cases)  # type: ignore[union-attr]
    zeros = [0] * (len(abi.flatten(type_)) - 1)
    for bad in (count, 255, 256 + count, 2**32 - 1):
        with pytest.raises(Trap, match=rf"invalid variant discriminant \({kind}\)"):
            lift(guest, type_, bad, *zeros)
    for bad in (count, 255):
        pointer = guest.put(bytes([bad]) + bytes(abi.size(type_) - 1), abi.alignment(type_))
        with pytest.raises(Trap, match=rf"invalid variant discriminant \({kind}\)"):
            lift(guest, (type_,), pointer, max_flat=0)
        with pytest.raises(Trap, match=rf"invalid variant discriminant \({kind}\)"):
            lift(guest, t.List(type_), pointer, 1)
    for good in range(count):
        pointer = guest.put(bytes([good]) + bytes(abi.size(type_) - 1), abi.alignment(type_))
        assert [lift(guest, type_, good, *zeros)] == lift(guest, t.List(type_), pointer, 1)


def test_joined_payloads() -> None:
    type_ = t.Variant((("a", t.F32), ("b", t.U64), ("c", t.S32), ("d", t.F64)))
    assert abi.flatten(type_) == ("i32", "i64")
    assert lift(Guest(), type_, 0, bits(1.5, "f") | GARBAGE) == Variant("a", 1.5)
    assert lift(Guest(), type_, 1, 2**64 - 1) == Variant("b", 2**64 - 1)
    assert lift(Guest(), type_, 2, 0xFFFF_FFFF | GARBAGE) == Variant("c", -1)
    assert lift(Guest(), type_, 3, bits(1.5, "d")) == Variant("d", 1.5)


def test_shapes() -> None:
    guest = Guest()
    assert lift(guest, t.Result(t.U8, t.U8), 0, 7) == Ok(7)
    assert lift(guest, t.Result(None, t.U8), 1, 7) == Err(7)
    assert lift(guest, t.Result(None, None), 0) == Ok(None)
    assert lift(guest, t.Option(t.Option(t.U8)), 1, 0, 0) == Some(None)
    assert lift(guest, t.Option(t.Option(t.U8)), 1, 1, 5) == Some(5)
    assert lift(guest, t.Option(t.Option(t.U8)), 0, 1, 5) is None
    record = lift(guest, t.Record((("class", t.U8), ("is-file", t.BOOL))), 1, 1)
    assert (record.class_, record.is_file) == (1, True)
    assert lift(guest, t.List(t.U8, 3), 1, 2, 3) == b"\1\2\3"
    assert lift(guest, t.List(t.U16, 3), 1, 2, 3) == [1, 2, 3]
    pairs = guest.put(b"\1\0\2\0\1\0\3\0")
    repeated = lift(guest, t.Map(t.U8, t.U16), pairs, 2)
    assert repeated == {1: 3}
    assert to_pairs(repeated, t.Map(t.U8, t.U16)) == [(1, 2), (1, 3)]
    repeated[1] = 4
    assert to_pairs(repeated, t.Map(t.U8, t.U16)) == [(1, 4)]
    assert type(lift(guest, t.Map(t.U8, t.U16), pairs, 1)) is dict
    assert lift(guest, ()) == ()


# ---- ranges ----------------------------------------------------------------------------------------------

SIZE = 1 << 16


@pytest.mark.parametrize(
    ("type_", "what"), [(t.STRING, "string"), (t.List(t.U8), "list"), (t.List(t.BOOL), "list"), (t.List(t.S8), "list")]
)
@pytest.mark.parametrize("beside", [(), (t.STRING,)])
def test_ranges_of_bytes(type_: t.ValType, what: str, beside: tuple[t.ValType, ...]) -> None:
    guest = Guest(SIZE, stale=SIZE // 2)

    def lift_range(pointer: int, length: int) -> Any:
        flats = [pointer, length] + [0, 0] * len(beside)
        return lift(guest, (type_, *beside), *flats)[0]

    assert len(lift_range(0, SIZE)) == SIZE
    assert len(lift_range(SIZE - 1, 1)) == 1
    assert len(lift_range(SIZE, 0)) == 0
    for pointer, length in [(SIZE, 1), (SIZE - 1, 2), (SIZE + 1, 0), (2**32 - 1, 1), (2**32 - 1, 2**28 - 1)]:
        with pytest.raises(Trap, match=f"{what} pointer/length out of bounds of memory"):
            lift_range(pointer, length)
    for length in (2**28, 2**32 - 1):
        with pytest.raises(Trap, match=f"{what} of .* longer than the Canonical ABI admits"):
            lift_range(0, length)


@pytest.mark.parametrize("element", [t.U16, t.F32, t.U64, t.STRING, t.Tuple((t.U8, t.U32)), t.Option(t.F64), t.CHAR])
def test_ranges_of_elements(element: t.ValType) -> None:
    guest = Guest(SIZE, stale=SIZE // 2)
    size, alignment = abi.size(element), abi.alignment(element)
    type_ = t.List(element)
    fits = SIZE // size
    assert len(lift(guest, type_, SIZE - fits * size, fits)) == fits
    assert lift(guest, type_, SIZE, 0) == []
    for pointer, count in [(SIZE, 1), (SIZE - size + alignment, 1), (SIZE + alignment, 0), (0, fits + 1)]:
        with pytest.raises(Trap, match="list pointer/length out of bounds of memory"):
            lift(guest, type_, pointer, count)
    for pointer in (1, alignment + alignment // 2):
        with pytest.raises(Trap, match="unaligned pointer to a list"):
            lift(guest, type_, pointer, 0)
    longest = (2**28 - 1) // size
    with pytest.raises(Trap, match="out of bounds"):
        lift(guest, type_, 0, longest)
    for count in (longest + 1, 2**32 // size, 2**32 - 1):
        with pytest.raises(Trap, match="longer than the Canonical ABI admits"):
            lift(guest, type_, 0, count)


def test_spilled_values() -> None:
    guest = Guest(SIZE, stale=SIZE // 2)
    types = (t.U8,) + (t.U64,) * 16
    assert abi.flat_count(types, 16) == 1
    size = 17 * 8
    data = struct.pack("<B7x16Q", 7, *range(16))
    pointer = guest.put(data, 8)
    assert lift(guest, types, pointer) == (7, *range(16))
    assert lift(guest, types, SIZE - size) == (0,) * 17
    for bad in (1, 4, SIZE - size + 4):
        with pytest.raises(Trap, match="unaligned pointer"):
            lift(guest, types, bad)
    for bad in (SIZE - size + 8, SIZE, 2**32 - 8):
        with pytest.raises(Trap, match="pointer out of bounds of memory"):
            lift(guest, types, bad)


# ---- strings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "data", "length", "text"),
    [
        (UTF8, "æ\U0001f600".encode(), 6, "æ\U0001f600"),
        (UTF8, "\ufeffa".encode(), 4, "\ufeffa"),
        (UTF8, b"\0", 1, "\0"),
        (UTF16, "æ\U0001f600".encode("utf-16-le"), 3, "æ\U0001f600"),
        (UTF16, "\ufeffa".encode("utf-16-le"), 2, "\ufeffa"),
        (LATIN1, b"\xe6\x80", 2, "æ\x80"),
        (LATIN1, "æ\U0001f600".encode("utf-16-le"), 3 | 2**31, "æ\U0001f600"),
    ],
)
def test_strings(encoding: StringEncoding, data: bytes, length: int, text: str) -> None:
    guest = Guest()
    pointer = guest.put(data, 2)
    assert lift(guest, t.STRING, pointer, length, encoding=encoding) == text
    at = guest.put(struct.pack("<II", pointer, length), 4)
    assert lift(guest, t.List(t.STRING), at, 1, encoding=encoding) == [text]


@pytest.mark.parametrize(
    ("encoding", "data", "length"),
    [
        (UTF8, b"\xff", 1),
        (UTF8, b"\xc0\x80", 2),
        (UTF8, b"\xed\xa0\x80", 3),
        (UTF8, b"\xf4\x90\x80\x80", 4),
        (UTF8, b"\xe2\x82", 2),
        (UTF16, b"\x00\xd8", 1),
        (UTF16, b"\x00\xdcA\x00", 2),
        (UTF16, b"\x00\xd8A\x00", 2),
        (LATIN1, b"\x00\xd8", 1 | 2**31),
    ],
)
def test_bad_strings(encoding: StringEncoding, data: bytes, length: int) -> None:
    guest = Guest()
    pointer = guest.put(data, 2)
    match = "(invalid|incomplete) utf-8" if encoding is UTF8 else "invalid utf-16"
    with pytest.raises(Trap, match=match):
        lift(guest, t.STRING, pointer, length, encoding=encoding)
    with pytest.raises(Trap, match=match):
        lift(guest, (t.STRING, t.STRING), pointer, length, pointer, length, encoding=encoding)


@pytest.mark.parametrize("encoding", [UTF16, LATIN1])
def test_wide_strings_are_aligned_and_measured_in_bytes(encoding: StringEncoding) -> None:
    guest = Guest(SIZE, stale=SIZE // 2)
    tag = 2**31 if encoding is LATIN1 else 0
    for length in (0, 2 | tag):
        with pytest.raises(Trap, match="unaligned pointer to a string"):
            lift(guest, t.STRING, 9, length, encoding=encoding)
    assert len(lift(guest, t.STRING, 0, SIZE // 2 | tag, encoding=encoding)) == SIZE // 2
    for pointer, length in [(0, SIZE // 2 + 1), (SIZE, 1), (2**32 - 2, 1)]:
        with pytest.raises(Trap, match="string pointer/length out of bounds of memory"):
            lift(guest, t.STRING, pointer, length | tag, encoding=encoding)
    for length in (2**27, 2**31 - 1):
        with pytest.raises(Trap, match="longer than the Canonical ABI admits"):
            lift(guest, t.STRING, 0, length | tag, encoding=encoding)
    if encoding is LATIN1:
        with pytest.raises(Trap, match="string pointer/length out of bounds of memory"):
            lift(guest, t.STRING, 2, SIZE - 1, encoding=encoding)
        with pytest.raises(Trap, match="longer than the Canonical ABI admits"):
            lift(guest, t.STRING, 2, 2**28, encoding=encoding)


# ---- handles ---------------------------------------------------------------------------------------------


def test_owned_handles_leave_the_table() -> None:
    guest = Guest()
    rep = object()
    index = guest.handles.add(ResourceHandle(FILE, rep, own=True))
    assert lift(guest, t.Own(FILE), index) is rep
    with pytest.raises(Trap, match=f"unknown handle index {index}"):
        lift(guest, t.Own(FILE), index)


@pytest.mark.parametrize("track_lends", [True, False])
def test_borrowed_handles_stay(track_lends: bool) -> None:
    guest = Guest()
    rep = object()
    handle = ResourceHandle(FILE, rep, own=True)
    index = guest.handles.add(handle)
    assert lift(guest, (t.Borrow(FILE),) * 2, index, index, track_lends=track_lends) == (rep, rep)
    assert guest.handles.get(index) is handle
    assert handle.lends == (2 if track_lends else 0)
    assert guest.cx.lenders == ([handle, handle] if track_lends else [])


def test_a_lent_handle_cannot_be_transferred() -> None:
    guest = Guest()
    index = guest.handles.add(ResourceHandle(FILE, object(), own=True))
    with pytest.raises(Trap, match="cannot remove owned resource while borrowed"):
        lift(guest, (t.Borrow(FILE), t.Own(FILE)), index, index)
    index = guest.handles.add(ResourceHandle(FILE, object(), own=True))
    with pytest.raises(Trap, match="unknown handle index"):
        lift(guest, (t.Own(FILE), t.Borrow(FILE)), index, index)


@pytest.mark.parametrize("type_", [t.Own(FILE), t.Borrow(FILE)])
@pytest.mark.parametrize("track_lends", [True, False])
def test_bad_handles(type_: t.ValType, track_lends: bool) -> None:
    guest = Guest()
    other = guest.handles.add(ResourceHandle(OTHER, object(), own=True))
    alien = guest.handles.add("a waitable set, say")
    for index in (0, 99, 2**32 - 1):
        with pytest.raises(Trap, match=f"unknown handle index {index}"):
            lift(guest, type_, index, track_lends=track_lends)
    with pytest.raises(Trap, match="used with the wrong type, expected file"):
        lift(guest, type_, other, track_lends=track_lends)
    with pytest.raises(Trap, match="is not a resource"):
        lift(guest, type_, alien, track_lends=track_lends)


def test_a_borrow_is_not_owned() -> None:
    guest = Guest()
    index = guest.handles.add(ResourceHandle(FILE, object(), own=False, scope=guest.cx.scope))
    with pytest.raises(Trap, match="is borrowed, but an owned handle is required"):
        lift(guest, t.Own(FILE), index)


@pytest.mark.parametrize("type_", [t.Own(GUESTS), t.Borrow(GUESTS)])
def test_guest_resources(type_: t.ValType) -> None:
    guest = Guest()
    index = guest.handles.add(ResourceHandle(GUESTS, 17, own=True))
    lifted = lift(guest, type_, index, track_lends=False)
    assert isinstance(lifted, GuestResource)
    assert lifted.resource is GUESTS
    assert lifted.rep == 17


def test_the_context_converts_asynchronous_values() -> None:
    class Context(Converting):
        def lift_stream(self, index: int, element: t.ValType | None) -> Any:
            return ("stream", index, element)

        def lift_future(self, index: int, element: t.ValType | None) -> Any:
            return ("future", index, element)

        def lift_error_context(self, index: int) -> Any:
            return ("error-context", index)

    guest = Guest()
    guest.cx = cast(Any, Context(guest))
    types = (t.Stream(t.U8), t.Future(None), t.ERROR_CONTEXT)
    expected = (("stream", 1, t.U8), ("future", 2, None), ("error-context", 3))
    assert lift(guest, types, 1, 2, 3) == expected
    assert lift(guest, types, guest.put(struct.pack("<III", 1, 2, 3), 4), max_flat=2) == expected


# ---- the budget ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "element", [t.STRING, t.List(t.U8), t.List(t.U32), t.List(t.List(t.BOOL)), t.Option(t.STRING), t.Map(t.U8, t.U8)]
)
def test_aliased_elements_are_charged_for(element: t.ValType) -> None:
    """Each of many elements that point to one region is charged, so a small memory cannot fill a large one."""
    guest = Guest(1 << 20)
    if element == t.List(t.List(t.BOOL)):
        inner = guest.put(struct.pack("<II", 0, 1 << 19) * 1024, 4)
        entry, count = struct.pack("<II", inner, 1024), 2
    elif isinstance(element, t.Option):
        entry, count = struct.pack("<III", 1, 0, 1 << 20), 1024
    else:
        entry, count = struct.pack("<II", 0, 1 << 16), 16384
    pointer = guest.put(entry * count, 4)
    with pytest.raises(Trap, match="more data than the host admits"):
        lift(guest, t.List(element), pointer, count)


def test_many_large_strings_are_charged_for() -> None:
    guest = Guest(LIFT_FUEL // 2)
    assert len(lift(guest, t.STRING, 0, LIFT_FUEL // 2)) == LIFT_FUEL // 2
    with pytest.raises(Trap, match="more data than the host admits"):
        lift(guest, (t.STRING, t.List(t.U8), t.STRING), *(0, LIFT_FUEL // 2) * 3)


def test_each_call_has_its_own_budget() -> None:
    guest = Guest(1 << 20)
    for _ in range(3):
        guest.cx.fuel = 0
        assert len(lift(guest, t.List(t.U16), 0, 1 << 18)) == 1 << 18
        guest.cx.fuel = 0
        assert len(abi.load_list(t.U16, UTF8)(guest.cx, 0, 1 << 18)) == 1 << 18
        guest.cx.fuel = 0
        assert lift(guest, (t.STRING, t.STRING), 0, 5000, 0, 5000) == ("\0" * 5000,) * 2


# ---- the generated code ----------------------------------------------------------------------------------


def test_tracebacks_show_generated_lines() -> None:
    with pytest.raises(Trap) as caught:
        lift(Guest(), t.Enum(("a", "b")), 2)
    shown = "".join(traceback.format_exception(caught.value))
    assert "raise Trap('invalid variant discriminant (enum)')" in shown


def test_equal_types_share_a_function() -> None:
    types = (t.List(t.Record((("a", t.U8),))),)
    again = (t.List(t.Record((("a", t.Primitive("u8")),))),)
    assert abi.lift_values(types, UTF8, 16, stride=2) is abi.lift_values(again, UTF8, 16, stride=2)
    assert abi.lift_values(types, UTF8, 16, stride=2) is not abi.lift_values(types, UTF16, 16, stride=2)


def tower(depth: int) -> t.ValType:
    """Return a type that contains the one below it eight times. Written out, it has 8 ** depth parts."""
    type_: t.ValType = t.Tuple((t.U8,) * 8)
    for _ in range(depth):
        type_ = t.Tuple((type_,) * 4 + (t.Result(type_, type_),) + (t.Option(type_),) * 2)
    return type_


def deep(depth: int) -> t.ValType:
    type_: t.ValType = t.U8
    for i in range(depth):
        type_ = t.List(type_) if i % 2 else t.Option(type_)
    return type_


def test_code_is_bounded_by_the_definition_of_a_type() -> None:
    guest = Guest(1 << 20)
    type_ = tower(5)
    (value,) = lift(guest, (type_,), 0, max_flat=0)
    assert len(value) == 7
    again = abi.lower_values((type_,), UTF8, 0)(guest.cx, (value,))
    assert lift(guest, (type_,), *again, max_flat=0) == (value,)


def test_deep_types() -> None:
    guest = Guest(1 << 20)
    type_ = deep(99)
    value: Any = 5
    for i in range(99):
        value = [value] if i % 2 else value
    flats = abi.lower_values((type_,), UTF8, 16)(guest.cx, (value,))
    assert lift(guest, type_, *flats) == value
    options: t.ValType = t.U8
    for _ in range(99):
        options = t.Option(options)
    pointer = guest.put(b"\1" * abi.size(options))
    lifted = lift(guest, (options,), pointer, max_flat=16)[0]
    for _ in range(98):
        assert type(lifted) is Some
        lifted = lifted.value
    assert lifted == 1
