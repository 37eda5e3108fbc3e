"""The elements of streams: every type, and the values kept in Python."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.component.concurrency.pipes import (
    COMPLETED,
    READ,
    Pipe,
    context,
    done,
    lift,
)
from tests.component.concurrency.world import BLOCKED, World
from wasi_trio.component._account import OverBudget
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import ResourceHandle
from wasi_trio.component._types import (
    BOOL,
    CHAR,
    F32,
    F64,
    S8,
    S16,
    S32,
    S64,
    STRING,
    U8,
    U16,
    U32,
    U64,
    List,
    Own,
    Record,
    ResourceType,
    Stream,
    ValType,
)
from wasi_trio.component.concurrency._copying import CopyState

NUMBERS: list[tuple[ValType, str, list[Any]]] = [
    (S8, "b", [-1, 2, 3]),
    (U16, "H", [1, 2, 65535]),
    (S16, "h", [1, -2, 3]),
    (U32, "I", [1, 2, 2**32 - 1]),
    (S32, "i", [1, -2, 3]),
    (U64, "Q", [1, 2, 2**64 - 1]),
    (S64, "q", [1, -2, 3]),
    (F32, "f", [1.5, -2.0, 3.25]),
    (F64, "d", [1.5, -2.0, 0.1]),
]


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("element", "code", "values"), NUMBERS)
def test_numbers(world: World, element: ValType, code: str, values: list[Any], same: bool) -> None:
    pipe = Pipe(world, element, same)
    data = struct.pack(f"<3{code}", *values)
    target = pipe.r.scratch(len(data))
    pipe.write(pipe.w.put(data), 3)
    assert pipe.read(target, 2) == done(COMPLETED, 2)
    assert pipe.read(target + 2 * len(data) // 3, 2) == done(COMPLETED, 1)
    assert pipe.r.read(target, len(data)) == data


@pytest.mark.parametrize("same", [False, True])
def test_streams_of_nothing_count(world: World, same: bool) -> None:
    pipe = Pipe(world, None, same)
    assert pipe.write(0xDEADBEEF, 10) == BLOCKED
    assert pipe.read(0xDEADBEEF, 4) == done(COMPLETED, 4)
    assert pipe.read(0xDEADBEEF, 2**28 - 1) == done(COMPLETED, 6)


@pytest.mark.parametrize("shift", range(-8, 9))
@pytest.mark.parametrize("write_first", [False, True])
def test_overlapping_buffers_of_one_instance(world: World, shift: int, write_first: bool) -> None:
    pipe = Pipe(world, same=True)
    pipe.w.memory.view[64:72] = b"abcdefgh"
    operations = [(pipe.write, 64), (pipe.read, 64 + shift)]
    for operation, pointer in operations if write_first else reversed(operations):
        operation(pointer, 8)
    assert pipe.w.read(64 + shift, 8) == b"abcdefgh"


@pytest.mark.parametrize("write_first", [False, True])
@pytest.mark.parametrize("element", [CHAR, BOOL, STRING, Record((("x", U32),))])
def test_one_instance_copies_only_numbers_to_itself(world: World, element: ValType, write_first: bool) -> None:
    pipe = Pipe(world, element, same=True)
    first, second = (pipe.write, pipe.read) if write_first else (pipe.read, pipe.write)
    assert first(0, 1) == BLOCKED
    for count in (1, 0):
        with pytest.raises(Trap, match="cannot read from and write to intra-component stream"):
            second(0, count)
        pipe.w.handles.get(pipe.writer if not write_first else pipe.reader).state = CopyState.IDLE


def test_strings_are_lowered_when_the_reader_takes_its_event(world: World) -> None:
    pipe = Pipe(world, STRING)
    w, r = pipe.w, pipe.r
    texts = [b"one", b"two", b"three"]
    table = w.put(b"".join(struct.pack("<II", w.put(text), len(text)) for text in texts))
    target = r.scratch(32)
    assert pipe.read(target, 4) == BLOCKED
    assert pipe.write(table, 2) == done(COMPLETED, 2)
    assert r.reallocations == 0
    # Python holds no more elements before the reader takes this one.
    assert pipe.write(table + 16, 1) == BLOCKED
    assert pipe.read_event() == (READ, done(COMPLETED, 2))
    assert r.reallocations == 2
    assert pipe.read(target + 16, 4) == done(COMPLETED, 1)
    found = [r.read(r.word(target + 8 * i), r.word(target + 8 * i + 4)) for i in range(3)]
    assert found == texts


def test_elements_that_wait_for_a_reader_are_bounded(world: World) -> None:
    pipe = Pipe(world, List(U8))
    pipe.r.handles.account.limit = pipe.r.handles.account.used + 1000
    pipe.read(0, 100)
    data = pipe.w.put(b"x" * 100)
    table = pipe.w.put(struct.pack("<II", data, 100) * 10)
    with pytest.raises(OverBudget):
        pipe.write(table, 10)


def test_handles_in_streams(world: World) -> None:
    resource = ResourceType("thing")
    pipe = Pipe(world, Own(resource))
    things = [object(), object()]
    handles = [pipe.w.handles.add(ResourceHandle(resource, thing, own=True)) for thing in things]
    target = pipe.r.scratch(8)
    pipe.read(target, 2)
    assert pipe.write(pipe.w.put(struct.pack("<II", *handles)), 2) == done(COMPLETED, 2)
    assert pipe.read_event() == (READ, done(COMPLETED, 2))
    assert [pipe.r.handles.get(pipe.r.word(target + 4 * i)).rep for i in range(2)] == things
    assert len(pipe.w.handles) == 1


def test_streams_in_streams(world: World) -> None:
    inner = Pipe(world)
    outer = Pipe(world, Stream(U8))
    shared = lift(inner.r, inner.reader, U8)
    index = context(outer.w).lower_stream(shared, U8)
    outer.write(outer.w.put(struct.pack("<I", index)), 1)
    target = outer.r.scratch(4)
    assert outer.read(target, 1) == done(COMPLETED, 1)
    assert len(outer.w.handles) == 1
    inner.r, inner.reader = outer.r, outer.r.word(target)
    inner.write(inner.w.put(b"deep"), 4)
    place = inner.r.scratch(4)
    assert inner.read(place, 4) == done(COMPLETED, 4) and inner.r.read(place, 4) == b"deep"


def test_invalid_elements_trap(world: World) -> None:
    pipe = Pipe(world, CHAR)
    pipe.write(pipe.w.put(struct.pack("<I", 0xD800)), 1)
    with pytest.raises(Trap, match="char"):
        pipe.read(0, 1)
