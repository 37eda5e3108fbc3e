"""Streams between guests, operation by operation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.concurrency.pipes import (
    CANCELLED,
    COMPLETED,
    DROPPED,
    READ,
    WRITE,
    Pipe,
    context,
    done,
    lift,
)
from tests.component.concurrency.world import BLOCKED, Guest, World
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._types import (
    S8,
    U8,
    U32,
    FuncType,
    Future,
    Stream,
)
from wasi_trio.component.concurrency import HostWriter, SharedStream, Task

# ---- rendezvous ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("write_first", [False, True])
def test_the_second_party_completes_at_once(world: World, same: bool, write_first: bool) -> None:
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


def test_a_reader_takes_the_available_elements(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(16)
    assert pipe.write(pipe.w.put(b"abcd"), 4) == BLOCKED
    assert pipe.read(target, 16) == done(COMPLETED, 4)
    assert pipe.read(target, 16) == BLOCKED


def test_a_reader_receives_more_until_it_takes_its_event(world: World) -> None:
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


def test_a_reader_receives_no_more_after_its_event(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(12)
    pipe.read(target, 12)
    assert pipe.write(pipe.w.put(b"abcd"), 4) == done(COMPLETED, 4)
    assert pipe.read_event() == (READ, done(COMPLETED, 4))
    assert pipe.write(pipe.w.put(b"efgh"), 4) == BLOCKED
    assert pipe.r.read(target, 8) == b"abcd\0\0\0\0"


def test_many_reads_complete_a_write(world: World) -> None:
    pipe = Pipe(world)
    assert pipe.write(pipe.w.put(b"abcdefgh"), 8) == BLOCKED
    target = pipe.r.scratch(8)
    assert pipe.read(target, 3) == done(COMPLETED, 3)
    assert pipe.read(target + 3, 3) == done(COMPLETED, 3)
    assert pipe.write_event() == (WRITE, done(COMPLETED, 6))
    assert pipe.read(target + 6, 2) == BLOCKED
    assert pipe.write(pipe.w.put(b"gh"), 2) == done(COMPLETED, 2)
    assert pipe.r.read(target, 8) == b"abcdefgh"


# ---- zero length -----------------------------------------------------------------------------------------


def test_operations_of_no_length_wait_for_the_other_end_to_be_ready(world: World) -> None:
    pipe = Pipe(world)
    assert pipe.write(0xFFFF_FFFF, 0) == BLOCKED
    assert pipe.read(0xFFFF_FFFF, 0) == BLOCKED
    assert pipe.write_event() == (WRITE, done(COMPLETED, 0))
    source = pipe.w.put(b"abcd")
    # The reader waits for readiness. This write completes that, and itself waits for a real read.
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


# ---- cancelling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_cancelling_a_copy_without_progress(world: World, is_async: bool) -> None:
    pipe = Pipe(world)

    def core() -> None:
        for guest, index, kind in ((pipe.r, pipe.reader, "read"), (pipe.w, pipe.writer, "write")):
            assert guest.call(f"stream.{kind}", index, 0, 4, type_=pipe.type, is_async=True) == BLOCKED
            code = guest.call(f"stream.cancel-{kind}", index, type_=pipe.type, is_async=is_async)
            assert code == done(CANCELLED, 0)

    pipe.r.instance.task = pipe.w.instance.task = task_of(pipe.w)
    core()


def task_of(guest: Guest) -> Task:
    """Return an unstarted call of an ``async`` function that does nothing."""
    function = guest.lift(lambda guest: None, FuncType((), None, is_async=True))
    return Task(function, guest.instance, tuple, lambda outcome: None)


def test_cancelling_a_copy_with_progress(world: World) -> None:
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


def test_cancelling_without_a_pending_copy_traps(world: World) -> None:
    pipe = Pipe(world)
    with pytest.raises(Trap, match="read cancelled when no read is pending"):
        pipe.cancel_read()
    with pytest.raises(Trap, match="write cancelled when no write is pending"):
        pipe.cancel_write()


# ---- dropping --------------------------------------------------------------------------------------------


def test_dropping_an_end_notifies_the_other(world: World) -> None:
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


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("join_first", [False, True])
def test_an_idle_end_gets_an_event_when_the_other_is_dropped(world: World, writes: bool, join_first: bool) -> None:
    pipe = Pipe(world)
    guest, index = (pipe.w, pipe.writer) if writes else (pipe.r, pipe.reader)
    drop = pipe.drop_reader if writes else pipe.drop_writer
    wset = guest.call("waitable-set.new")
    if join_first:
        guest.call("waitable.join", index, wset)
        drop()
    else:
        drop()
        guest.call("waitable.join", index, wset)
    assert guest.call("waitable-set.poll", wset, 0) == (WRITE if writes else READ)
    assert (guest.word(0), guest.word(4)) == (index, done(DROPPED, 0))
    assert guest.call("waitable-set.poll", wset, 0) == 0, "the drop is delivered once"
    with pytest.raises(Trap, match=r"after being notified that the (read|writ)able end dropped"):
        (pipe.write if writes else pipe.read)(0, 1)
    (pipe.drop_writer if writes else pipe.drop_reader)()
    guest.call("waitable-set.drop", wset)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_operation_of_an_idle_end_takes_the_event_of_a_drop(world: World, is_async: bool) -> None:
    pipe = Pipe(world)
    wset = pipe.r.call("waitable-set.new")
    if is_async:  # a synchronous read admits no set
        pipe.r.call("waitable.join", pipe.reader, wset)
    pipe.drop_writer()

    def read() -> int:
        return int(pipe.r.call("stream.read", pipe.reader, 0, 8, type_=pipe.type, is_async=is_async))

    assert world.inside(pipe.r, read) == done(DROPPED, 0)
    assert pipe.r.call("waitable-set.poll", wset, 0) == 0
    pipe.drop_reader()


def test_an_idle_end_learns_of_a_drop_that_came_before_its_transfer(world: World) -> None:
    pipe = Pipe(world)
    pipe.drop_writer()
    stream = lift(pipe.r, pipe.reader, U8)
    other = world.guest()
    index = context(other).lower_stream(stream, U8)
    assert pipe.event(other, index) == (READ, done(DROPPED, 0))
    with pytest.raises(Trap, match="cannot lift stream after being notified that the writable end dropped"):
        lift(other, index, U8)


def test_the_event_of_a_copy_reports_a_later_drop(world: World) -> None:
    pipe = Pipe(world)
    pipe.read(0, 0)
    assert pipe.write(0, 4) == BLOCKED  # completes the read of no length
    pipe.cancel_write()
    pipe.drop_writer()
    assert pipe.read_event() == (READ, done(DROPPED, 0))


def test_an_idle_end_learns_that_the_host_dropped_the_other(world: World) -> None:
    guest = world.guest()
    writer = HostWriter(SharedStream(U8))
    index = context(guest).lower_stream(writer.shared, U8)
    wset = guest.call("waitable-set.new")
    guest.call("waitable.join", index, wset)
    writer.drop()
    assert guest.call("waitable-set.poll", wset, 0) == READ
    assert (guest.word(0), guest.word(4)) == (index, done(DROPPED, 0))


@pytest.mark.parametrize("writes", [False, True])
def test_an_idle_end_learns_that_the_guest_with_the_other_has_ended(world: World, writes: bool) -> None:
    pipe = Pipe(world)
    for _ in (pipe.r if writes else pipe.w).instance.abandon():
        pass
    event = pipe.write_event() if writes else pipe.read_event()
    assert event == (WRITE if writes else READ, done(DROPPED, 0))


def test_a_stream_refers_to_no_end_that_has_left(world: World) -> None:
    """A cycle would remain in memory until a garbage collection."""
    pipe = Pipe(world)
    shared = pipe.r.handles.get(pipe.reader).shared
    pipe.drop_writer()
    pipe.drop_reader()
    assert shared.reader is None and shared.writer is None


def test_operations_after_the_other_end_was_dropped(world: World) -> None:
    pipe = Pipe(world)
    pipe.drop_reader()
    assert pipe.write(0, 4) == done(DROPPED, 0)
    with pytest.raises(Trap, match="cannot write to stream after being notified that the readable end dropped"):
        pipe.write(0, 4)
    pipe.drop_writer()
    other = Pipe(world)
    other.drop_writer()
    assert other.read(0, 4) == done(DROPPED, 0)


def test_a_busy_end_cannot_be_dropped_used_or_transferred(world: World) -> None:
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
        pipe.write(0, 4)  # this causes an event, and the end stays busy until it is taken
    pipe.cancel_read()
    pipe.write(0, 4)
    with pytest.raises(Trap, match="cannot drop busy stream"):
        pipe.drop_writer()
    with pytest.raises(Trap, match=concurrent):
        pipe.write(0, 8)


# ---- passing on ------------------------------------------------------------------------------------------


def test_a_readable_end_is_transferred(world: World) -> None:
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
    with pytest.raises(HostError, match="was transferred earlier"):
        context(pipe.w).lower_stream(shared, U8)


def test_ends_that_cannot_be_transferred(world: World) -> None:
    pipe = Pipe(world)
    guest = pipe.r
    wset = guest.call("waitable-set.new")
    guest.call("waitable.join", pipe.reader, wset)
    with pytest.raises(Trap, match="cannot lift stream while it's in a waitable set"):
        lift(guest, pipe.reader, U8)
    guest.call("waitable.join", pipe.reader, 0)
    with pytest.raises(Trap, match="used with the wrong type of stream"):
        lift(guest, pipe.reader, S8)
    with pytest.raises(Trap, match="is not the readable end of a future"):
        context(guest).lift_future(pipe.reader, U8)
    for index in (pipe.writer, wset):
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


def test_the_host_discards_a_stream(world: World) -> None:
    pipe = Pipe(world)
    lift(pipe.r, pipe.reader, U8).discard()
    assert pipe.write(0, 4) == done(DROPPED, 0)


# ---- buffers ---------------------------------------------------------------------------------------------


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


# ---- synchronous operations ------------------------------------------------------------------------------


def test_synchronous_operations_wait(world: World) -> None:
    pipe = Pipe(world)
    target = pipe.r.scratch(8)

    def reader(guest: Guest):  # type: ignore[no-untyped-def]
        code = yield from guest.do("stream.read", pipe.reader, target, 8, type_=pipe.type)
        assert code == done(DROPPED, 4)  # both happened before the reader took the event

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
    guest.instance.task = task_of(guest)
    args: tuple[int, ...] = (0, 4)
    if "cancel" in name:
        guest.call(name.replace("cancel-", ""), index, 0, 4, type_=pipe.type, is_async=True)
        args = ()
    guest.call("waitable.join", index, guest.call("waitable-set.new"))
    with pytest.raises(Trap, match="waitable cannot be used synchronously while added to a waitable set"):
        guest.call(name, index, *args, type_=pipe.type)
