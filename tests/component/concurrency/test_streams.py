"""Streams between guests, operation by operation."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.component.concurrency.world import BLOCKED, Guest, World
from wasi_trio.component.concurrency import instance as instance_module
from wasi_trio.component.concurrency.copying import CopyState
from wasi_trio.component.context import Context
from wasi_trio.component.errors import HostError, Trap
from wasi_trio.component.handles import ResourceHandle
from wasi_trio.component.types import (
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
    FuncType,
    Future,
    List,
    Own,
    Record,
    ResourceType,
    Stream,
    ValType,
)

COMPLETED, DROPPED, CANCELLED = 0, 1, 2
READ, WRITE = 2, 3


def lift(guest: Guest, index: int, element: ValType | None) -> Any:
    return context(guest).lift_stream(index, element)


def context(guest: Guest) -> Context:
    return guest.context(guest.options())


class Pipe:
    """A stream from guest ``w`` to guest ``r``, with calls of the built-ins on its ends."""

    def __init__(self, world: World, element: ValType | None = U8, same: bool = False) -> None:
        self.type = Stream(element)
        self.w = world.guest()
        ends = self.w.call("stream.new", type_=self.type)
        self.reader, self.writer = ends & 0xFFFF_FFFF, ends >> 32
        self.r = self.w
        if not same:
            self.r = world.guest()
            self.reader = context(self.r).lower_stream(lift(self.w, self.reader, element), element)

    def write(self, pointer: int, count: int) -> int:
        return int(self.w.call("stream.write", self.writer, pointer, count, type_=self.type, is_async=True))

    def read(self, pointer: int, count: int) -> int:
        return int(self.r.call("stream.read", self.reader, pointer, count, type_=self.type, is_async=True))

    def cancel_write(self) -> int:
        return int(self.w.call("stream.cancel-write", self.writer, type_=self.type, is_async=True))

    def cancel_read(self) -> int:
        return int(self.r.call("stream.cancel-read", self.reader, type_=self.type, is_async=True))

    def drop_writer(self) -> None:
        self.w.call("stream.drop-writable", self.writer, type_=self.type)

    def drop_reader(self) -> None:
        self.r.call("stream.drop-readable", self.reader, type_=self.type)

    def event(self, guest: Guest, index: int) -> tuple[int, int] | None:
        """The pending event of an end: its code and payload."""
        joined = guest.call("waitable-set.new")
        guest.call("waitable.join", index, joined)
        code = guest.call("waitable-set.poll", joined, 0)
        found, payload = guest.word(0), guest.word(4)
        guest.call("waitable.join", index, 0)
        guest.call("waitable-set.drop", joined)
        assert code == 0 or found == index
        return None if code == 0 else (code, payload)

    def write_event(self) -> tuple[int, int] | None:
        return self.event(self.w, self.writer)

    def read_event(self) -> tuple[int, int] | None:
        return self.event(self.r, self.reader)


def done(result: int, count: int) -> int:
    return result | count << 4


# ---- rendezvous --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("write_first", [False, True])
def test_whoever_comes_second_completes_at_once(world: World, same: bool, write_first: bool) -> None:
    pipe = Pipe(world, same=same)
    source, target = pipe.w.put(b"abcd"), pipe.r.scratch(4)
    if write_first:
        assert pipe.write(source, 4) == BLOCKED
        assert pipe.read(target, 4) == done(COMPLETED, 4)
        assert pipe.write_event() == (WRITE, done(COMPLETED, 4))
    else:
        assert pipe.read(target, 4) == BLOCKED
        assert pipe.write(source, 4) == done(COMPLETED, 4)
        assert pipe.read_event() == (READ, done(COMPLETED, 4))
    assert pipe.r.read(target, 4) == b"abcd"
    assert pipe.write_event() is None and pipe.read_event() is None


def test_a_reader_takes_what_there_is(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(16)
    assert pipe.write(pipe.w.put(b"abcd"), 4) == BLOCKED
    assert pipe.read(target, 16) == done(COMPLETED, 4)
    assert pipe.read(target, 16) == BLOCKED


def test_a_reader_that_has_something_is_filled_until_it_takes_its_event(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(12)
    assert pipe.read(target, 12) == BLOCKED
    for part in (b"abcd", b"efgh"):
        assert pipe.write(pipe.w.put(part), 4) == done(COMPLETED, 4)
    assert pipe.write(pipe.w.put(b"ijklmn"), 6) == done(COMPLETED, 4)
    assert pipe.write(pipe.w.put(b"mn"), 2) == BLOCKED
    assert pipe.read_event() == (READ, done(COMPLETED, 12))
    assert pipe.r.read(target, 12) == b"abcdefghijkl"
    assert pipe.read(target, 12) == done(COMPLETED, 2)


def test_a_reader_that_took_its_event_is_filled_no_more(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(12)
    pipe.read(target, 12)
    assert pipe.write(pipe.w.put(b"abcd"), 4) == done(COMPLETED, 4)
    assert pipe.read_event() == (READ, done(COMPLETED, 4))
    assert pipe.write(pipe.w.put(b"efgh"), 4) == BLOCKED
    assert pipe.r.read(target, 8) == b"abcd\0\0\0\0"


def test_a_writer_is_emptied_by_many_reads(world: World) -> None:
    pipe = Pipe(world)
    assert pipe.write(pipe.w.put(b"abcdefgh"), 8) == BLOCKED
    target = pipe.r.scratch(8)
    assert pipe.read(target, 3) == done(COMPLETED, 3)
    assert pipe.read(target + 3, 3) == done(COMPLETED, 3)
    assert pipe.write_event() == (WRITE, done(COMPLETED, 6))
    assert pipe.read(target + 6, 2) == BLOCKED
    assert pipe.write(pipe.w.put(b"gh"), 2) == done(COMPLETED, 2)
    assert pipe.r.read(target, 8) == b"abcdefgh"


# ---- zero length -------------------------------------------------------------------------------------------


def test_operations_of_no_length_wait_for_the_other_end_to_be_ready(world: World) -> None:
    pipe = Pipe(world)
    assert pipe.write(0xFFFF_FFFF, 0) == BLOCKED
    assert pipe.read(0xFFFF_FFFF, 0) == BLOCKED
    assert pipe.write_event() == (WRITE, done(COMPLETED, 0))
    source = pipe.w.put(b"abcd")
    # The reader waits for readiness, which this write is: it completes, and the write waits for a real read.
    assert pipe.write(source, 4) == BLOCKED
    assert pipe.read_event() == (READ, done(COMPLETED, 0))
    assert pipe.read(0, 0) == done(COMPLETED, 0)
    assert pipe.read(pipe.r.scratch(4), 4) == done(COMPLETED, 4)


def test_a_write_of_no_length_meets_a_read(world: World) -> None:
    pipe = Pipe(world)
    assert pipe.read(0, 4) == BLOCKED
    assert pipe.write(0, 0) == done(COMPLETED, 0)
    assert pipe.read_event() is None
    pipe.cancel_read()
    assert pipe.read(0, 0) == BLOCKED
    assert pipe.write(0, 0) == done(COMPLETED, 0)
    assert pipe.read_event() is None


# ---- cancelling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_cancelling_what_has_copied_nothing(world: World, is_async: bool) -> None:
    pipe = Pipe(world)

    def core() -> None:
        for guest, index, kind in ((pipe.r, pipe.reader, "read"), (pipe.w, pipe.writer, "write")):
            assert guest.call(f"stream.{kind}", index, 0, 4, type_=pipe.type, is_async=True) == BLOCKED
            code = guest.call(f"stream.cancel-{kind}", index, type_=pipe.type, is_async=is_async)
            assert code == done(CANCELLED, 0)

    running: Any = Task(pipe.w)
    pipe.r.task = pipe.w.task = running
    core()


class Task:
    """As much of a task as a built-in asks for."""

    def __init__(self, guest: Guest) -> None:
        self.function = guest.lift(core_of_nothing, FuncType((), None, is_async=True))


def core_of_nothing(guest: Guest) -> None:
    return None


def test_cancelling_what_has_copied_something(world: World) -> None:
    pipe = Pipe(world)
    pipe.read(0, 8)
    pipe.write(0, 3)
    assert pipe.cancel_read() == done(CANCELLED, 3)
    assert pipe.write(0, 8) == BLOCKED
    assert pipe.read(0, 3) == done(COMPLETED, 3)
    assert pipe.cancel_write() == done(CANCELLED, 3)
    assert pipe.read(0, 3) == BLOCKED


def test_cancelling_after_the_other_end_was_dropped(world: World) -> None:
    pipe = Pipe(world)
    pipe.read(0, 8)
    pipe.write(0, 3)
    pipe.drop_writer()
    assert pipe.cancel_read() == done(DROPPED, 3)
    pipe.drop_reader()


def test_there_must_be_something_to_cancel(world: World) -> None:
    pipe = Pipe(world)
    with pytest.raises(Trap, match="read cancelled when no read is pending"):
        pipe.cancel_read()
    with pytest.raises(Trap, match="write cancelled when no write is pending"):
        pipe.cancel_write()


# ---- dropping ----------------------------------------------------------------------------------------------


def test_the_other_end_is_told_when_one_is_dropped(world: World) -> None:
    pipe = Pipe(world)
    pipe.read(0, 8)
    pipe.write(0, 3)
    pipe.drop_writer()
    assert pipe.read_event() == (READ, done(DROPPED, 3))
    with pytest.raises(Trap, match="cannot read from stream after being notified that the writable end dropped"):
        pipe.read(0, 1)
    with pytest.raises(Trap, match="cannot lift stream after being notified that the writable end dropped"):
        lift(pipe.r, pipe.reader, U8)
    pipe.drop_reader()
    assert len(pipe.r.handles) == len(pipe.w.handles) == 0


def test_operations_on_what_was_dropped_before(world: World) -> None:
    pipe = Pipe(world)
    pipe.drop_reader()
    assert pipe.write(0, 4) == done(DROPPED, 0)
    with pytest.raises(Trap, match="cannot write to stream after being notified that the readable end dropped"):
        pipe.write(0, 4)
    pipe.drop_writer()
    other = Pipe(world)
    other.drop_writer()
    assert other.read(0, 4) == done(DROPPED, 0)


def test_a_busy_end_is_neither_dropped_nor_used_nor_passed_on(world: World) -> None:
    pipe = Pipe(world)
    pipe.read(0, 8)
    concurrent = "cannot have concurrent operations active on a future/stream"
    for _ in range(2):
        with pytest.raises(Trap, match="cannot remove busy stream"):
            pipe.drop_reader()
        with pytest.raises(Trap, match="cannot remove busy stream"):
            lift(pipe.r, pipe.reader, U8)
        with pytest.raises(Trap, match=concurrent):
            pipe.read(0, 8)
        pipe.write(0, 4)  # now there is an event, but until it is taken the end stays busy
    pipe.cancel_read()
    pipe.write(0, 4)
    with pytest.raises(Trap, match="cannot drop busy stream"):
        pipe.drop_writer()
    with pytest.raises(Trap, match=concurrent):
        pipe.write(0, 8)


# ---- passing on --------------------------------------------------------------------------------------------


def test_a_readable_end_travels(world: World) -> None:
    pipe = Pipe(world)
    third = world.guest()
    pipe.write(pipe.w.put(b"abcd"), 4)
    shared = lift(pipe.r, pipe.reader, U8)
    assert len(pipe.r.handles) == 0
    pipe.reader = context(third).lower_stream(shared, U8)
    pipe.r = third
    target = third.scratch(4)
    assert pipe.read(target, 4) == done(COMPLETED, 4)
    assert third.read(target, 4) == b"abcd"
    with pytest.raises(HostError, match="was given away before"):
        context(pipe.w).lower_stream(shared, U8)


def test_what_does_not_travel(world: World) -> None:
    pipe = Pipe(world)
    guest = pipe.r
    joined = guest.call("waitable-set.new")
    guest.call("waitable.join", pipe.reader, joined)
    with pytest.raises(Trap, match="cannot lift stream while it's in a waitable set"):
        lift(guest, pipe.reader, U8)
    guest.call("waitable.join", pipe.reader, 0)
    with pytest.raises(Trap, match="used with the wrong type of stream"):
        lift(guest, pipe.reader, S8)
    with pytest.raises(Trap, match="is not the readable end of a future"):
        context(guest).lift_future(pipe.reader, U8)
    for index in (pipe.writer, joined):
        with pytest.raises(Trap, match="is not the readable end of a stream"):
            lift(pipe.w if index == pipe.writer else guest, index, U8)
    with pytest.raises(Trap, match="unknown handle index 99"):
        lift(guest, 99, U8)
    shared = lift(guest, pipe.reader, U8)
    with pytest.raises(HostError, match="another type"):
        context(guest).lower_stream(shared, S8)
    with pytest.raises(HostError, match="a future cannot be made from a Python SharedStream"):
        context(guest).lower_future(shared, U8)
    with pytest.raises(HostError, match="a stream cannot be made from a Python bytes"):
        context(guest).lower_stream(b"abc", U8)


def test_lifted_streams_can_be_wrapped_for_python(world: World) -> None:
    class Wrapped:
        def __init__(self, shared: Any) -> None:
            self.shared = shared

        def into_shared(self) -> Any:
            return self.shared

    pipe = Pipe(world)
    cx = context(pipe.r)
    cx.adopt = Wrapped
    wrapped = cx.lift_stream(pipe.reader, U8)
    assert isinstance(wrapped, Wrapped)
    pipe.reader = cx.lower_stream(wrapped, U8)
    pipe.drop_writer()
    assert pipe.read(0, 1) == done(DROPPED, 0)


def test_a_stream_that_the_host_does_not_want(world: World) -> None:
    pipe = Pipe(world)
    lift(pipe.r, pipe.reader, U8).discard()
    assert pipe.write(0, 4) == done(DROPPED, 0)


# ---- buffers -----------------------------------------------------------------------------------------------


def test_buffers_are_checked(world: World) -> None:
    pipe = Pipe(world, U32)
    for act, kind in ((pipe.read, "read"), (pipe.write, "write")):
        with pytest.raises(Trap, match=f"{kind} pointer not aligned"):
            act(2, 1)
        for pointer, count in [(65536, 1), (65532, 2), (2**32 - 4, 1), (0, 2**28 - 1)]:
            with pytest.raises(Trap, match=f"{kind} pointer out of bounds of memory"):
                act(pointer, count)
        with pytest.raises(Trap, match="stream read/write count too large"):
            act(0, 2**28)
    assert pipe.read(65532, 1) == BLOCKED


def test_ends_are_checked(world: World) -> None:
    pipe = Pipe(world)
    for name in ("stream.read", "stream.cancel-read", "stream.drop-readable"):
        args = (0, 1) if name == "stream.read" else ()
        with pytest.raises(Trap, match="is not the readable end of a stream"):
            pipe.w.call(name, pipe.writer, *args, type_=pipe.type, is_async=True)
        with pytest.raises(Trap, match="used with the wrong type"):
            pipe.r.call(name, pipe.reader, *args, type_=Stream(S8), is_async=True)
    for name in ("stream.write", "stream.cancel-write", "stream.drop-writable"):
        args = (0, 1) if name == "stream.write" else ()
        with pytest.raises(Trap, match="is not the writable end of a stream"):
            pipe.r.call(name, pipe.reader, *args, type_=pipe.type, is_async=True)
        with pytest.raises(Trap, match="unknown handle index 77"):
            pipe.w.call(name, 77, *args, type_=pipe.type, is_async=True)
    with pytest.raises(Trap, match="is not the readable end of a future"):
        pipe.r.call("future.read", pipe.reader, 0, type_=Future(U8), is_async=True)


# ---- synchronous operations --------------------------------------------------------------------------------


def test_synchronous_operations_wait(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(8)

    def reader(guest: Guest):  # type: ignore[no-untyped-def]
        code = yield from guest.do("stream.read", pipe.reader, target, 8, type_=pipe.type)
        assert code == done(DROPPED, 4)  # both happened before it came to see either

    def writer(guest: Guest):  # type: ignore[no-untyped-def]
        code = yield from guest.do("stream.write", pipe.writer, guest.put(b"abcd"), 4, type_=pipe.type)
        assert code == done(COMPLETED, 4)
        pipe.drop_writer()

    type_ = FuncType((), None, is_async=True)
    read = world.start(pipe.r.lift(reader, type_))
    with pytest.raises(Trap, match="read cancelled when no read is pending"):
        pipe.cancel_read()
    write = world.start(pipe.w.lift(writer, type_))
    world.scheduler.run()
    assert read.resolved and write.resolved and pipe.r.read(target, 4) == b"abcd"


@pytest.mark.parametrize("name", ["stream.read", "stream.write", "stream.cancel-read", "stream.cancel-write"])
def test_ends_in_a_set_are_not_used_synchronously(world: World, name: str) -> None:
    pipe = Pipe(world, same=True)
    guest = pipe.w
    index = pipe.reader if name.endswith("read") else pipe.writer
    guest.task = Task(guest)  # type: ignore[assignment]
    args: tuple[int, ...] = (0, 4)
    if "cancel" in name:
        guest.call(name.replace("cancel-", ""), index, 0, 4, type_=pipe.type, is_async=True)
        args = ()
    guest.call("waitable.join", index, guest.call("waitable-set.new"))
    with pytest.raises(Trap, match="waitable cannot be used synchronously while added to a waitable set"):
        guest.call(name, index, *args, type_=pipe.type)


# ---- element types -----------------------------------------------------------------------------------------

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
def test_one_instance_copies_nothing_but_numbers_to_itself(world: World, element: ValType, write_first: bool) -> None:
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
    assert r.reallocations == 0 and r.undelivered > 0
    # No more of it in Python's memory before the reader takes that.
    assert pipe.write(table + 16, 1) == BLOCKED
    assert pipe.read_event() == (READ, done(COMPLETED, 2))
    assert r.reallocations == 2 and r.undelivered == 0
    assert pipe.read(target + 16, 4) == done(COMPLETED, 1)
    found = [r.read(r.word(target + 8 * i), r.word(target + 8 * i + 4)) for i in range(3)]
    assert found == texts


def test_what_waits_for_a_reader_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_module, "MAX_UNDELIVERED", 1000)
    pipe = Pipe(world, List(U8))
    pipe.read(0, 100)
    data = pipe.w.put(b"x" * 100)
    table = pipe.w.put(struct.pack("<II", data, 100) * 10)
    with pytest.raises(Trap, match="too much data awaits delivery"):
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
