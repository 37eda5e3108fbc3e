"""The host's ends of streams and futures, with guests and with each other."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.component.concurrency.host_log import (
    CANCELLED,
    COMPLETED,
    DROPPED,
    Log,
    context,
    guest_to_host,
    host_to_guest,
    read,
    take_event,
    write,
)
from tests.component.concurrency.world import BLOCKED, World
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._types import CHAR, F32, STRING, U8, U16, List, Stream, ValType
from wasi_trio.component.concurrency import (
    CopyResult,
    HostReader,
    HostWriter,
    SharedStream,
)

# ---- the host writes -------------------------------------------------------------------------------------


def test_a_guest_reads_what_the_host_writes_in_its_own_portions(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    writer.start_write(b"abcdefgh", log)
    assert read(guest, index, 64, 3) == 3 << 4
    assert read(guest, index, 67, 3) == 3 << 4
    assert log.calls == [] and writer.active
    assert read(guest, index, 70, 3) == 2 << 4
    assert log.take() == (COMPLETED, 8) and not writer.active
    assert guest.read(64, 8) == b"abcdefgh"


def test_the_host_continues_a_write_after_a_full_buffer(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    assert read(guest, index, 64, 3) == BLOCKED
    writer.start_write(bytearray(b"abcdefgh"), log)
    assert log.calls == []
    assert take_event(guest, index) == (2, 3 << 4)
    assert read(guest, index, 67, 5) == 5 << 4
    assert log.take() == (COMPLETED, 8)
    assert guest.read(64, 8) == b"abcdefgh"


def test_the_host_writes_into_a_waiting_buffer_at_once(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    assert read(guest, index, 64, 16) == BLOCKED
    for part in (b"abcd", memoryview(b"efgh")):
        writer.start_write(part, log)
        assert log.take() == (COMPLETED, 4)
    assert take_event(guest, index) == (2, 8 << 4)
    assert guest.read(64, 8) == b"abcdefgh"


def test_an_empty_write_waits_for_a_reader(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    writer.start_write(b"", log)
    assert log.calls == []
    assert read(guest, index, 64, 16) == BLOCKED
    assert log.take() == (COMPLETED, 0)
    writer.start_write(b"", log)
    assert log.take() == (COMPLETED, 0)


def test_the_host_cancels_a_partial_write(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    writer.cancel()
    writer.start_write(b"abcdefgh", log)
    read(guest, index, 64, 3)
    writer.cancel()
    assert log.take() == (CANCELLED, 3)
    assert read(guest, index, 67, 3) == BLOCKED
    writer.start_write(b"xyz", log)
    assert log.take() == (COMPLETED, 3)
    assert guest.read(64, 6) == b"abcxyz"


def test_the_host_learns_that_a_guest_dropped_its_end(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    gone: list[str] = []
    writer.watch(lambda: gone.append("first"))
    writer.watch(lambda: gone.append("second"))
    writer.start_write(b"abcdefgh", log)
    read(guest, index, 64, 3)
    assert not writer.peer_dropped
    guest.call("stream.drop-readable", index, type_=Stream(U8))
    assert log.take() == (DROPPED, 3)
    assert gone == ["second"] and writer.peer_dropped
    writer.start_write(b"more", log)
    assert log.take() == (DROPPED, 0)
    writer.drop()
    assert gone == ["second"]


def test_a_guest_learns_that_the_host_dropped_its_end(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    writer.watch(lambda: log(DROPPED, "its own doing"))
    writer.start_write(b"ab", log)
    writer.drop()
    writer.drop()
    assert log.calls == [] and not writer.active
    assert read(guest, index, 64, 4) == 1


def test_one_operation_at_a_time(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    writer.start_write(b"ab", log)
    with pytest.raises(HostError, match="already has an operation in progress"):
        writer.start_write(b"cd", log)
    assert read(guest, index, 64, 4) == 2 << 4
    assert log.take() == (COMPLETED, 2)


@pytest.mark.parametrize(
    ("element", "values", "data"),
    [
        (U16, [1, 65535, 3], struct.pack("<3H", 1, 65535, 3)),
        (F32, (1.5, -2.0, 0.0), struct.pack("<3f", 1.5, -2.0, 0.0)),
        (CHAR, ["a", "\u00e9", "\U0001f600"], struct.pack("<3I", 0x61, 0xE9, 0x1F600)),
    ],
)
def test_elements_that_the_host_writes(world: World, log: Log, element: ValType, values: Any, data: bytes) -> None:
    writer, guest, index = host_to_guest(world, element)
    size = len(data) // 3
    writer.start_write(values, log)
    assert read(guest, index, 64, 1, element) == 1 << 4
    assert read(guest, index, 64 + size, 9, element) == 2 << 4
    assert guest.read(64, len(data)) == data
    assert log.take() == (COMPLETED, 3)


def test_strings_that_the_host_writes(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world, STRING)
    assert read(guest, index, 64, 1, STRING) == BLOCKED
    writer.start_write(["one", "two"], log)
    assert guest.reallocations == 0
    assert take_event(guest, index) == (2, 1 << 4)
    assert guest.read(guest.word(64), guest.word(68)) == b"one"
    assert read(guest, index, 64, 1, STRING) == 1 << 4
    assert guest.read(guest.word(64), guest.word(68)) == b"two"
    assert log.take() == (COMPLETED, 2)


def test_counts_that_the_host_writes(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world, None)
    writer.start_write(5, log)
    assert read(guest, index, 0, 3, None) == 3 << 4
    assert read(guest, index, 0, 3, None) == 2 << 4
    assert log.take() == (COMPLETED, 5)


@pytest.mark.parametrize(
    ("element", "values"),
    [(None, [1]), (None, -1), (None, 2**28), (U8, "text"), (U16, [65536]), (U16, 5), (F32, ["x"])],
)
def test_values_that_do_not_fit_are_refused(log: Log, element: ValType | None, values: Any) -> None:
    writer = HostWriter(SharedStream(element))
    with pytest.raises(HostError):
        writer.start_write(values, log)
    assert not writer.active and log.calls == []


# ---- the host reads --------------------------------------------------------------------------------------


def test_the_host_reads_the_available_elements(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world)
    pointer = guest.put(b"abcdefgh")
    reader.start_read(100, log)
    assert log.calls == [] and reader.active
    assert write(guest, index, pointer, 3) == 3 << 4
    assert log.take() == (COMPLETED, b"abc") and not reader.active
    assert write(guest, index, pointer + 3, 5) == BLOCKED
    guest.memory.view[pointer + 3] = ord("D")
    reader.start_read(2, log)
    assert log.take() == (COMPLETED, b"De")
    reader.start_read(100, log)
    assert log.take() == (COMPLETED, b"fgh")
    assert take_event(guest, index) == (3, 5 << 4)


def test_the_host_gets_a_copy_of_the_bytes(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world)
    pointer = guest.put(b"abcd")
    write(guest, index, pointer, 4)
    reader.start_read(4, log)
    guest.memory.view[pointer : pointer + 4] = b"????"
    assert log.take() == (COMPLETED, b"abcd")


def test_the_host_stops_reading(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world)
    reader.start_read(4, log)
    reader.cancel()
    assert log.take() == (CANCELLED, b"")
    assert write(guest, index, 0, 4) == BLOCKED
    reader.drop()
    assert take_event(guest, index) == (3, 1)


def test_the_host_reads_to_the_end(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world)
    reader.start_read(4, log)
    guest.call("stream.drop-writable", index, type_=Stream(U8))
    assert log.take() == (DROPPED, b"")
    reader.start_read(4, log)
    assert log.take() == (DROPPED, b"")


def test_an_empty_read_waits_for_a_writer(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world)
    reader.start_read(0, log)
    assert write(guest, index, guest.put(b"ab"), 2) == BLOCKED
    assert log.take() == (COMPLETED, b"")
    reader.start_read(0, log)
    assert log.take() == (COMPLETED, b"")
    reader.start_read(2, log)
    assert log.take() == (COMPLETED, b"ab")


@pytest.mark.parametrize(
    ("element", "data", "values"),
    [
        (U16, struct.pack("<3H", 1, 65535, 3), [1, 65535, 3]),
        (F32, struct.pack("<3f", 1.5, -2.0, 0.0), [1.5, -2.0, 0.0]),
        (CHAR, struct.pack("<3I", 0x61, 0xE9, 0x1F600), ["a", "\u00e9", "\U0001f600"]),
        (None, b"", 3),
    ],
)
def test_elements_that_the_host_reads(world: World, log: Log, element: Any, data: bytes, values: Any) -> None:
    guest, index, reader = guest_to_host(world, element)
    write(guest, index, guest.put(data), 3, element)
    reader.start_read(10, log)
    assert log.take() == (COMPLETED, values)
    reader.start_read(10, log)
    reader.cancel()
    assert log.take() == (CANCELLED, 0 if element is None else [])


def test_the_reader_detects_invalid_elements(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world, CHAR)
    write(guest, index, guest.put(struct.pack("<I", 0x110000)), 1, CHAR)
    with pytest.raises(Trap, match="char"):
        reader.start_read(1, log)


def test_a_stream_has_one_reader(world: World, log: Log) -> None:
    guest, index, reader = guest_to_host(world)
    with pytest.raises(HostError, match="transferred earlier"):
        HostReader(reader.shared)
    reader.start_read(1, log)
    with pytest.raises(HostError, match="during a read"):
        reader.into_shared()
    reader.cancel()
    passed = context(guest).lower_stream(reader, U8)
    write(guest, index, guest.put(b"x"), 1)
    assert read(guest, passed, 64, 1) == 1 << 4 and guest.read(64, 1) == b"x"


# ---- host to host ----------------------------------------------------------------------------------------


def test_bytes_pass_between_host_ends_uncopied(world: World, log: Log) -> None:
    writer, guest, index = host_to_guest(world)
    reader = HostReader(context(guest).lift_stream(index, U8))
    data = b"x" * 1000
    written = Log()
    writer.start_write(data, written)
    reader.start_read(2000, log)
    assert written.take() == (COMPLETED, 1000)
    assert log.calls[0][1] is data
    assert log.take() == (COMPLETED, data)
    reader.start_read(10, log)
    writer.start_write(data, written)
    assert log.take() == (COMPLETED, data[:10]) and written.calls == []
    reader.start_read(2000, log)
    assert log.take() == (COMPLETED, data[10:])
    assert written.take() == (COMPLETED, 1000)


@pytest.mark.parametrize("data", [bytearray(b"abcd"), memoryview(bytearray(b"abcd"))])
def test_buffers_that_may_change_are_copied(log: Log, data: Any) -> None:
    writer = HostWriter(SharedStream(U8))
    reader = HostReader(writer.shared)
    writer.start_write(data, Log())
    reader.start_read(10, log)
    data[0] = 0
    assert log.take() == (COMPLETED, b"abcd")


def test_lists_pass_between_host_ends(log: Log) -> None:
    cases: list[tuple[ValType, Any]] = [(STRING, ["a", "b", "c"]), (U16, [1, 2, 3]), (List(U8), (b"1", b"2", b"3"))]
    for element, values in cases:
        writer = HostWriter(SharedStream(element))
        reader = HostReader(writer.shared)
        reader.start_read(2, log)
        writer.start_write(values, Log())
        assert log.take() == (COMPLETED, list(values[:2]))
        reader.start_read(2, log)
        assert log.take() == (COMPLETED, list(values[2:]))


def test_callbacks_may_start_the_next_operation() -> None:
    writer = HostWriter(SharedStream(U8))
    reader = HostReader(writer.shared)
    received: list[bytes] = []
    counts: list[int] = []

    def on_read(result: CopyResult, data: bytes) -> None:
        received.append(data)
        if result is COMPLETED:
            reader.start_read(7, on_read)

    def on_written(result: CopyResult, count: int) -> None:
        counts.append(count)
        if len(counts) < 20:
            writer.start_write(bytes([len(counts)]) * 10, on_written)
        else:
            writer.drop()

    reader.start_read(7, on_read)
    writer.start_write(b"\0" * 10, on_written)
    assert b"".join(received) == b"".join(bytes([i]) * 10 for i in range(20))
    assert counts == [10] * 20


def test_a_long_write_meets_many_reads_without_recursion() -> None:
    writer = HostWriter(SharedStream(U8))
    reader = HostReader(writer.shared)
    total = 0

    def on_read(result: CopyResult, data: bytes) -> None:
        nonlocal total
        total += len(data)
        if result is COMPLETED:
            reader.start_read(1, on_read)

    reader.start_read(1, on_read)
    log = Log()
    writer.start_write(b"x" * 10_000, log)
    assert total == 10_000 and log.take() == (COMPLETED, 10_000)


@pytest.mark.parametrize("stop", ["cancel", "drop"])
def test_the_readers_callback_cancels_a_write(stop: str) -> None:
    writer = HostWriter(SharedStream(U8))
    reader = HostReader(writer.shared)
    log = Log()

    def on_read(result: CopyResult, data: bytes) -> None:
        if result is COMPLETED:
            reader.start_read(4, on_read)
            getattr(writer, stop)()

    reader.start_read(4, on_read)
    writer.start_write(b"x" * 10, log)
    assert log.calls == ([(CANCELLED, 4)] if stop == "cancel" else [])
    assert not writer.active


def test_a_reader_that_is_dropped_in_its_callback() -> None:
    writer = HostWriter(SharedStream(U8))
    reader = HostReader(writer.shared)
    log = Log()
    reader.start_read(4, lambda result, data: reader.drop())
    writer.start_write(b"x" * 10, log)
    assert log.take() == (DROPPED, 4)
