"""Whatever the two ends of a stream or future do, in any order, nothing is lost, duplicated or reordered."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.component.concurrency.world import BLOCKED, Guest, World
from wasi_trio.component._types import STRING, U8, U16, Future, Stream, ValType
from wasi_trio.component.concurrency import (
    CopyResult,
    HostFutureReader,
    HostFutureWriter,
    HostReader,
    HostWriter,
    SharedFuture,
    SharedStream,
)

COMPLETED, DROPPED, CANCELLED = CopyResult.COMPLETED, CopyResult.DROPPED, CopyResult.CANCELLED
SIZES: dict[ValType, int] = {U8: 1, U16: 2, STRING: 8}


def encode(guest: Guest, element: ValType, values: list[int]) -> int:
    """Put elements into a guest's memory. For strings, each number is written as text."""
    if element == STRING:
        pairs = [(guest.put(str(value).encode()), len(str(value))) for value in values]
        return guest.put(b"".join(p.to_bytes(4, "little") + n.to_bytes(4, "little") for p, n in pairs))
    return guest.put(b"".join(value.to_bytes(SIZES[element], "little") for value in values))


def decode(guest: Guest, element: ValType, pointer: int, count: int) -> list[int]:
    size = SIZES[element]
    if element == STRING:
        places = range(pointer, pointer + 8 * count, 8)
        return [int(guest.read(guest.word(place), guest.word(place + 4))) for place in places]
    return [int.from_bytes(guest.read(pointer + size * i, size), "little") for i in range(count)]


class Reader:
    """A readable end and the values that it received."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.busy = False
        #: Whether it learnt that the other end is dropped.
        self.told = False
        self.dropped = False

    def ended(self, result: int, values: list[int]) -> None:
        assert self.busy or (result == DROPPED and not values)  # an idle end learns of a drop, too
        self.busy = False
        self.told |= result == DROPPED
        self.got += values


class Writer:
    """A writable end, and the number of its values that were read."""

    def __init__(self) -> None:
        self.taken = 0
        self.offered = 0
        self.busy = False
        self.told = False
        self.dropped = False

    def next(self, count: int) -> list[int]:
        """Return the next values to write, starting with the first unread one."""
        self.busy = True
        self.offered = count
        return [(self.taken + i) % 250 for i in range(count)]

    def ended(self, result: int, count: int) -> None:
        assert 0 <= count <= self.offered if self.busy else (result, count) == (DROPPED, 0)
        self.busy = False
        self.told |= result == DROPPED
        self.taken += count


class GuestSide:
    """The common part of a guest's ends: starting operations and taking events."""

    kind: str

    def __init__(self, guest: Guest, index: int, element: ValType) -> None:
        self.guest, self.index, self.element = guest, index, element
        self.wset = guest.call("waitable-set.new")
        guest.call("waitable.join", index, self.wset)
        self.pointer = self.length = 0

    def do(self, name: str, *args: int) -> int:
        return int(self.guest.call(f"stream.{name}", self.index, *args, type_=Stream(self.element), is_async=True))

    def start(self, pointer: int, length: int) -> None:
        self.pointer, self.length = pointer, length
        code = self.do(self.kind, pointer, length)
        if code != BLOCKED:
            self.finish(code)

    def take_event(self) -> None:
        code = self.guest.call("waitable-set.poll", self.wset, 0)
        if code:
            assert code == (2 if self.kind == "read" else 3) and self.guest.word(0) == self.index
            self.finish(self.guest.word(4))

    def cancel(self) -> None:
        self.finish(self.do(f"cancel-{self.kind}"))

    def finish(self, code: int) -> None:
        raise NotImplementedError


class GuestReader(GuestSide, Reader):
    kind = "read"

    def __init__(self, guest: Guest, index: int, element: ValType) -> None:
        GuestSide.__init__(self, guest, index, element)
        Reader.__init__(self)

    def begin(self, count: int) -> None:
        self.busy = True
        self.start(self.guest.scratch(8 * count), count)

    def finish(self, code: int) -> None:
        count = code >> 4
        assert count <= self.length
        self.ended(code & 0xF, decode(self.guest, self.element, self.pointer, count))

    def drop(self) -> None:
        self.guest.call("stream.drop-readable", self.index, type_=Stream(self.element))
        self.dropped = True


class GuestWriter(GuestSide, Writer):
    kind = "write"

    def __init__(self, guest: Guest, index: int, element: ValType) -> None:
        GuestSide.__init__(self, guest, index, element)
        Writer.__init__(self)

    def begin(self, count: int) -> None:
        self.start(encode(self.guest, self.element, self.next(count)), count)

    def finish(self, code: int) -> None:
        self.ended(code & 0xF, code >> 4)

    def drop(self) -> None:
        self.guest.call("stream.drop-writable", self.index, type_=Stream(self.element))
        self.dropped = True


class HostReading(Reader):
    def __init__(self, end: HostReader) -> None:
        super().__init__()
        self.end = end

    def begin(self, count: int) -> None:
        self.busy = True
        self.end.start_read(count, lambda result, data: self.ended(result, [int(value) for value in data]))

    def take_event(self) -> None:
        """Do nothing, because the host learns of events through callbacks."""

    def cancel(self) -> None:
        self.end.cancel()

    def drop(self) -> None:
        self.end.drop()
        self.dropped = True


class HostWriting(Writer):
    def __init__(self, end: HostWriter, element: ValType) -> None:
        super().__init__()
        self.end, self.element = end, element

    def begin(self, count: int) -> None:
        values = self.next(count)
        data: Any = values
        if self.element == U8:
            data = bytes(values)
        elif self.element == STRING:
            data = [str(value) for value in values]
        self.end.start_write(data, self.ended)

    def ended(self, result: int, count: int) -> None:
        assert result != COMPLETED or count == self.offered
        super().ended(result, count)

    def take_event(self) -> None:
        """Do nothing, because the host learns of events through callbacks."""

    def cancel(self) -> None:
        self.end.cancel()

    def drop(self) -> None:
        self.end.drop()
        self.dropped = True


def stream_sides(readable: str, writable: str, element: ValType) -> tuple[Any, Any]:
    world = World()
    other = world.guest()
    context = other.instance.context(other.options())
    if writable == "guest":
        guest = world.guest()
        ends = guest.call("stream.new", type_=Stream(element))
        shared = guest.instance.context(guest.options()).lift_stream(ends & 0xFFFF_FFFF, element)
        writer: Any = GuestWriter(guest, ends >> 32, element)
    else:
        shared = SharedStream(element)
        writer = HostWriting(HostWriter(shared), element)
    if readable == "guest":
        return GuestReader(other, context.lower_stream(shared, element), element), writer
    return HostReading(HostReader(shared)), writer


STEP = st.tuples(
    st.sampled_from(("read", "write")),
    st.sampled_from(("begin", "begin", "begin", "begin", "event", "event", "cancel", "drop")),
    st.integers(0, 9),
)


@settings(max_examples=400, deadline=None)
@given(
    readable=st.sampled_from(("guest", "host")),
    writable=st.sampled_from(("guest", "host")),
    element=st.sampled_from((U8, U16, STRING)),
    steps=st.lists(STEP, max_size=60),
)
def test_any_interleaving_on_a_stream(
    readable: str, writable: str, element: ValType, steps: list[tuple[str, str, int]]
) -> None:
    reader, writer = stream_sides(readable, writable, element)
    sides = {"read": reader, "write": writer}
    for which, act, size in steps:
        side = sides[which]
        if side.dropped:
            continue
        if act == "begin":
            if not side.busy and not side.told:
                side.begin(size)
        elif act == "event":
            side.take_event()
        elif side.busy and act == "cancel":
            side.cancel()
        elif not side.busy and act == "drop":
            side.drop()
        check(reader, writer)
    # In the end, an end that waits learns that the other end is dropped.
    for side, other in ((reader, writer), (writer, reader)):
        if not other.busy and not other.dropped and not side.dropped and not side.told:
            other.drop()
            side.take_event()
            if isinstance(side, (GuestReader, GuestWriter)):
                assert not side.busy and side.told
            elif not side.told:  # the host has no events: its next operation tells
                assert not side.busy
                side.begin(1)
                assert side.told
    for side in (writer, reader):
        if side.busy:
            side.cancel()
            assert not side.busy
        check(reader, writer)
    assert len(reader.got) == writer.taken, "a copy was counted on one side only"


def check(reader: Reader, writer: Writer) -> None:
    # The reader may already have part of an active write, and the writer may know of an active read before the reader.
    assert reader.got == [i % 250 for i in range(len(reader.got))]
    assert len(reader.got) <= writer.taken + (writer.offered if writer.busy else 0)
    if not reader.busy and not writer.busy:
        assert len(reader.got) == writer.taken
    if reader.told:
        assert writer.dropped
    if writer.told:
        assert reader.dropped


# ---- futures -----------------------------------------------------------------------------------------------


class GuestFuture:
    """A guest's end of a future. Methods have the names of built-ins."""

    def __init__(self, guest: Guest, index: int, kind: str) -> None:
        self.guest, self.index, self.kind = guest, index, kind
        self.wset = guest.call("waitable-set.new")
        guest.call("waitable.join", index, self.wset)
        self.pointer = guest.put(b"\x07" if kind == "write" else b"\0")
        self.results: list[int] = []
        self.busy = False

    def do(self, name: str, *args: int) -> int:
        return self.guest.call(f"future.{name}", self.index, *args, type_=Future(U8), is_async=True) or 0

    def begin(self) -> None:
        self.busy = True
        code = self.do(self.kind, self.pointer)
        if code != BLOCKED:
            self.ended(code)

    def ended(self, code: int) -> None:
        assert self.busy or (self.kind, code) == ("write", DROPPED)
        self.busy = False
        self.results.append(code)

    def take_event(self) -> None:
        if self.guest.call("waitable-set.poll", self.wset, 0):
            assert self.guest.word(0) == self.index
            self.ended(self.guest.word(4))

    def cancel(self) -> None:
        self.ended(self.do(f"cancel-{self.kind}"))

    def drop(self) -> None:
        self.do("drop-readable" if self.kind == "read" else "drop-writable")

    @property
    def value(self) -> int:
        return self.guest.read(self.pointer, 1)[0]


class HostFuture:
    def __init__(self, end: HostFutureReader | HostFutureWriter) -> None:
        self.end = end
        self.results: list[int] = []
        self.value: Any = None
        self.busy = False

    def begin(self) -> None:
        self.busy = True
        if isinstance(self.end, HostFutureReader):
            self.end.start_read(self.ended)
        else:
            self.end.start_write(7, self.ended)

    def ended(self, result: CopyResult, value: Any) -> None:
        assert self.busy
        self.busy = False
        self.results.append(result)
        self.value = value

    def take_event(self) -> None:
        """Do nothing, because the host learns of events through callbacks."""

    def cancel(self) -> None:
        self.end.cancel()

    def drop(self) -> None:
        self.end.drop()


@settings(max_examples=300, deadline=None)
@given(
    readable=st.sampled_from(("guest", "host")),
    writable=st.sampled_from(("guest", "host")),
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from(("begin", "begin", "event", "cancel", "drop"))), max_size=30
    ),
)
def test_any_interleaving_on_a_future(readable: str, writable: str, steps: list[tuple[bool, str]]) -> None:
    world = World()
    guests = [world.guest(), world.guest()]
    contexts = [guest.instance.context(guest.options()) for guest in guests]
    if writable == "guest":
        ends = guests[0].call("future.new", type_=Future(U8))
        shared = contexts[0].lift_future(ends & 0xFFFF_FFFF, U8)
        writer: Any = GuestFuture(guests[0], ends >> 32, "write")
    else:
        shared = SharedFuture(U8)
        writer = HostFuture(HostFutureWriter(shared))
    reader: Any = (
        GuestFuture(guests[1], contexts[1].lower_future(shared, U8), "read")
        if readable == "guest"
        else HostFuture(HostFutureReader(shared))
    )
    dropped = {id(reader): False, id(writer): False}
    for write, act in steps:
        side = writer if write else reader
        over = side.results and side.results[-1] != CANCELLED
        if dropped[id(side)]:
            continue
        if act == "begin" and not side.busy and not over:
            side.begin()
        elif act == "event":
            side.take_event()
        elif act == "cancel" and side.busy:
            side.cancel()
        elif act == "drop" and not side.busy and (side is reader or over):
            side.drop()
            dropped[id(side)] = True
    for side in (reader, writer):
        side.take_event()
        if side.busy:
            side.cancel()
    for side in (reader, writer):
        assert all(result == CANCELLED for result in side.results[:-1])
    delivered = COMPLETED in reader.results
    assert delivered == (COMPLETED in writer.results)
    assert not delivered or reader.value == 7
    assert DROPPED not in reader.results
    assert DROPPED not in writer.results or dropped[id(reader)]


# ---- events ------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(("fire", "join", "leave", "poll")), st.integers(0, 5), st.booleans())),
)
def test_events_are_delivered_once_wherever_waitables_move(count: int, steps: list[tuple[str, int, bool]]) -> None:
    guest = World().guest()
    sets = [guest.call("waitable-set.new") for _ in range(2)]
    type_ = Future(None)
    ends = [guest.call("future.new", type_=type_) for _ in range(count)]
    readers = [end & 0xFFFF_FFFF for end in ends]
    place: dict[int, int | None] = dict.fromkeys(readers)
    pending: list[int] = []
    delivered: list[int] = []
    for reader in readers:
        guest.call("future.read", reader, 0, type_=type_, is_async=True)
    for act, number, second in steps:
        reader, wset = readers[number % count], sets[second]
        if act == "fire" and reader not in pending and reader not in delivered:
            guest.call("future.write", ends[number % count] >> 32, 0, type_=type_, is_async=True)
            pending.append(reader)
        elif act == "join":
            guest.call("waitable.join", reader, wset)
            place[reader] = wset
            if reader in pending:  # it moves to the end of its new set
                pending.remove(reader)
                pending.append(reader)
        elif act == "leave":
            guest.call("waitable.join", reader, 0)
            place[reader] = None
        elif act == "poll":
            expected = next((r for r in pending if place[r] == wset), None)
            code = guest.call("waitable-set.poll", wset, 0)
            assert (code, guest.word(0), guest.word(4)) == ((4, expected, 0) if expected else (0, 0, 0))
            if expected is not None:
                pending.remove(expected)
                delivered.append(expected)
    for wset in sets:
        for reader in readers:
            if place[reader] == wset:
                guest.call("waitable.join", reader, 0)
        guest.call("waitable-set.drop", wset)


def test_all_pairs_of_sides_copy_values() -> None:
    """Each pair of holders moves values in both orders."""
    for readable, writable, element in itertools.product(("guest", "host"), ("guest", "host"), (U8, U16, STRING)):
        for first in ("read", "write"):
            reader, writer = stream_sides(readable, writable, element)
            sides = {"read": reader, "write": writer}
            sides[first].begin(5)
            sides["write" if first == "read" else "read"].begin(5)
            reader.take_event()
            writer.take_event()
            assert reader.got == [0, 1, 2, 3, 4] and writer.taken == 5
