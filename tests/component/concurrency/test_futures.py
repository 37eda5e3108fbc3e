"""Futures between guests."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.component.concurrency.world import BLOCKED, Guest, World
from wasi_trio.component._context import Context
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._types import CHAR, STRING, U8, U64, FuncType, Future, ValType
from wasi_trio.component.concurrency import HostFutureWriter, SharedFuture

COMPLETED, DROPPED, CANCELLED = 0, 1, 2
READ, WRITE = 4, 5


def context(guest: Guest) -> Context:
    return guest.instance.context(guest.options())


class Pipe:
    def __init__(self, world: World, element: ValType | None = U8, same: bool = False) -> None:
        self.type = Future(element)
        self.w = world.guest()
        ends = self.w.call("future.new", type_=self.type)
        self.reader, self.writer = ends & 0xFFFF_FFFF, ends >> 32
        self.r = self.w
        if not same:
            self.r = world.guest()
            self.reader = context(self.r).lower_future(context(self.w).lift_future(self.reader, element), element)

    def write(self, pointer: int) -> int:
        return int(self.w.call("future.write", self.writer, pointer, type_=self.type, is_async=True))

    def read(self, pointer: int) -> int:
        return int(self.r.call("future.read", self.reader, pointer, type_=self.type, is_async=True))

    def cancel(self, kind: str) -> int:
        guest, index = (self.r, self.reader) if kind == "read" else (self.w, self.writer)
        return int(guest.call(f"future.cancel-{kind}", index, type_=self.type, is_async=True))

    def drop_writer(self) -> None:
        self.w.call("future.drop-writable", self.writer, type_=self.type)

    def drop_reader(self) -> None:
        self.r.call("future.drop-readable", self.reader, type_=self.type)

    def event(self, guest: Guest, index: int) -> Any:
        wset = guest.call("waitable-set.new")
        guest.call("waitable.join", index, wset)
        code = guest.call("waitable-set.poll", wset, 0)
        payload = guest.word(4)
        guest.call("waitable.join", index, 0)
        return None if code == 0 else (code, payload)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("write_first", [False, True])
def test_a_value_is_copied_once(world: World, same: bool, write_first: bool) -> None:
    pipe = Pipe(world, U64, same)
    source, target = pipe.w.put(struct.pack("<Q", 2**60 + 1)), pipe.r.scratch(8)
    if write_first:
        assert pipe.write(source) == BLOCKED
        assert pipe.read(target) == COMPLETED
        assert pipe.event(pipe.w, pipe.writer) == (WRITE, COMPLETED)
    else:
        assert pipe.read(target) == BLOCKED
        assert pipe.write(source) == COMPLETED
        assert pipe.event(pipe.r, pipe.reader) == (READ, COMPLETED)
    assert struct.unpack("<Q", pipe.r.read(target, 8)) == (2**60 + 1,)
    with pytest.raises(Trap, match="cannot write to future after previous write succeeded or readable end dropped"):
        pipe.write(source)
    with pytest.raises(Trap, match="cannot read from future after previous read succeeded"):
        pipe.read(target)
    with pytest.raises(Trap, match="cannot lift future after previous read succeeded"):
        context(pipe.r).lift_future(pipe.reader, U64)
    pipe.drop_writer()
    pipe.drop_reader()


def test_a_writable_end_must_be_written_before_it_is_dropped(world: World) -> None:
    message = "cannot drop future write end without first writing a value"
    pipe = Pipe(world)
    with pytest.raises(Trap, match=message):
        pipe.drop_writer()
    pipe.write(0)
    with pytest.raises(Trap, match=message):
        pipe.drop_writer()
    pipe.drop_reader()
    with pytest.raises(Trap, match=message):
        pipe.drop_writer()  # the reader does not know yet
    assert pipe.event(pipe.w, pipe.writer) == (WRITE, DROPPED)
    pipe.drop_writer()


def test_an_idle_writable_end_gets_an_event_when_the_readable_end_is_dropped(world: World) -> None:
    pipe = Pipe(world)
    wset = pipe.w.call("waitable-set.new")
    pipe.w.call("waitable.join", pipe.writer, wset)
    pipe.drop_reader()
    assert pipe.w.call("waitable-set.poll", wset, 0) == WRITE
    assert (pipe.w.word(0), pipe.w.word(4)) == (pipe.writer, DROPPED)
    assert pipe.w.call("waitable-set.poll", wset, 0) == 0
    with pytest.raises(Trap, match="cannot write to future after previous write succeeded or readable end dropped"):
        pipe.write(0)
    pipe.drop_writer()


def test_an_idle_readable_end_gets_no_event_when_the_host_drops_the_other(world: World) -> None:
    """Only a read traps, because no value can come."""
    guest = world.guest()
    writer = HostFutureWriter(SharedFuture(U8))
    index = context(guest).lower_future(writer.shared, U8)
    wset = guest.call("waitable-set.new")
    guest.call("waitable.join", index, wset)
    writer.drop()
    assert guest.call("waitable-set.poll", wset, 0) == 0
    guest.call("future.drop-readable", index, type_=Future(U8))


def test_writing_without_a_reader(world: World) -> None:
    pipe = Pipe(world)
    pipe.drop_reader()
    assert pipe.write(0) == DROPPED
    with pytest.raises(Trap, match="cannot write to future after previous write succeeded or readable end dropped"):
        pipe.write(0)
    pipe.drop_writer()


def test_cancelled_operations_can_be_tried_again(world: World) -> None:
    pipe = Pipe(world)
    source, target = pipe.w.put(b"!"), pipe.r.scratch(1)
    assert pipe.read(target) == BLOCKED
    assert pipe.cancel("read") == CANCELLED
    assert pipe.write(source) == BLOCKED
    assert pipe.cancel("write") == CANCELLED
    assert pipe.read(target) == BLOCKED
    assert pipe.write(source) == COMPLETED
    assert pipe.cancel("read") == COMPLETED
    assert pipe.r.read(target, 1) == b"!"
    with pytest.raises(Trap, match="read cancelled when no read is pending"):
        pipe.cancel("read")


def test_a_busy_future_cannot_be_dropped(world: World) -> None:
    pipe = Pipe(world)
    pipe.read(0)
    with pytest.raises(Trap, match="cannot remove busy future"):
        pipe.drop_reader()
    with pytest.raises(Trap, match="cannot have concurrent operations"):
        pipe.read(0)


def test_synchronous_operations_wait(world: World) -> None:
    pipe = Pipe(world, None)

    def reader(guest: Guest):  # type: ignore[no-untyped-def]
        assert (yield from guest.do("future.read", pipe.reader, 0, type_=pipe.type)) == COMPLETED

    call = world.start(pipe.r.lift(reader, FuncType((), None, is_async=True)))
    assert pipe.write(0) == COMPLETED
    world.scheduler.run()
    assert call.resolved


def test_one_instance_copies_only_numbers_to_itself(world: World) -> None:
    pipe = Pipe(world, CHAR, same=True)
    pipe.read(0)
    with pytest.raises(Trap, match="cannot read from and write to intra-component future"):
        pipe.write(0)


def test_strings_are_lowered_when_the_reader_takes_its_event(world: World) -> None:
    pipe = Pipe(world, STRING)
    target = pipe.r.scratch(8)
    assert pipe.read(target) == BLOCKED
    pipe.write(pipe.w.put(struct.pack("<II", pipe.w.put(b"text"), 4)))
    assert pipe.r.reallocations == 0
    assert pipe.event(pipe.r, pipe.reader) == (READ, COMPLETED)
    assert pipe.r.read(pipe.r.word(target), pipe.r.word(target + 4)) == b"text"


@pytest.mark.parametrize("read_first", [False, True])
def test_a_guest_traps_if_the_host_drops_an_unwritten_future(world: World, read_first: bool) -> None:
    guest = world.guest()
    shared = SharedFuture(U8)
    writer = HostFutureWriter(shared)
    index = context(guest).lower_future(shared, U8)
    wset = guest.call("waitable-set.new")
    if read_first:
        guest.call("future.read", index, 0, type_=Future(U8), is_async=True)
        guest.call("waitable.join", index, wset)
    writer.drop()
    with pytest.raises(Trap, match="dropped the writable end of a future without writing"):
        if read_first:
            guest.call("waitable-set.poll", wset, 0)
        else:
            guest.call("future.read", index, 0, type_=Future(U8), is_async=True)


def test_host_values_are_checked_when_they_are_written() -> None:
    with pytest.raises(HostError, match="u8"):
        HostFutureWriter(SharedFuture(U8)).start_write(256, print)
