"""wasi:io/streams: the rules for all streams."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._process_stdio import ProcessOutput, ProcessStdin
from wasi_trio.wasi._stdio import ROOM, BytesSource, CapturedOutput, NullSink
from wasi_trio.wasi.p2._cli import SinkStream, SourceStream
from wasi_trio.wasi.p2._io import READ_LIMIT, WRITE_LIMIT, Error, InputStream, OutputStream, Streams

CLOSED = Err(Variant("closed"))
U64_MAX = 2**64 - 1


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(read end, write end) of a pipe."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0), open(writer, "wb", buffering=0):
        yield reader, writer


def fill(writer: int) -> int:
    """Fill a pipe, and return the number of bytes written."""
    os.set_blocking(writer, False)
    size = 0
    try:
        while True:
            size += os.write(writer, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return size


def hang_up(writer: int) -> None:
    """End the reader's input. The fixture still closes the descriptor."""
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), writer)


def drain(reader: int, size: int) -> None:
    while size:
        size -= len(os.read(reader, size))


def failure(outcome: object) -> BaseException:
    """Return the reason in a ``last-operation-failed``."""
    assert isinstance(outcome, Err)
    assert outcome.value.case == "last-operation-failed"
    assert isinstance(outcome.value.value, Error)
    assert isinstance(outcome.value.value.reason, BaseException)
    return outcome.value.value.reason


# ---- input


def test_reads_return_data_and_then_closed() -> None:
    stream = SourceStream(BytesSource(b"hello world"))
    assert stream.read(5) == Ok(b"hello")
    assert stream.read(0) == Ok(b"")
    assert stream.read(100) == Ok(b" world")
    assert stream.read(1) == CLOSED
    assert stream.read(0) == CLOSED
    assert stream.skip(1) == CLOSED


async def test_a_read_of_any_size_is_capped() -> None:
    stream = SourceStream(BytesSource(bytes(3 * READ_LIMIT)))
    assert stream.read(U64_MAX) == Ok(bytes(READ_LIMIT))
    assert stream.skip(U64_MAX) == Ok(READ_LIMIT)
    assert await stream.blocking_skip(U64_MAX) == Ok(READ_LIMIT)
    assert await stream.blocking_read(U64_MAX) == CLOSED


async def test_blocking_calls_that_can_be_met_do_not_checkpoint() -> None:
    source = SourceStream(BytesSource(b"abcdef"))
    sink = CapturedOutput()
    out = SinkStream(sink)
    with trio.testing.assert_no_checkpoints():
        assert await source.blocking_read(2) == Ok(b"ab")
        assert await source.blocking_read(0) == Ok(b"")
        assert await source.blocking_skip(1) == Ok(1)
        assert await out.blocking_splice(source, 2) == Ok(2)
        assert await out.blocking_write_and_flush(b"xyz") == Ok()
        assert await out.blocking_write_zeroes_and_flush(2) == Ok()
        assert await out.blocking_flush() == Ok()
        await source.subscribe().block()
        await out.subscribe().block()
    assert sink.getvalue() == b"dexyz\0\0"


async def test_blocking_read_waits_for_bytes_and_for_the_end(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stream = SourceStream(ProcessStdin(reader))
    ready = stream.subscribe()
    assert stream.read(10) == Ok(b"")
    assert not ready.ready()
    outcomes: list[object] = []

    async def guest() -> None:
        outcomes.append(await stream.blocking_read(3))
        outcomes.append(await stream.blocking_read(0))
        outcomes.append(await stream.blocking_read(3))
        outcomes.append(await stream.blocking_read(3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guest)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == []
        os.write(writer, b"hello")
        hang_up(writer)
    assert outcomes == [Ok(b"hel"), Ok(b""), Ok(b"lo"), CLOSED]
    assert ready.ready()
    await ready.block()


def test_a_failed_read_is_reported_once() -> None:
    class Broken(BytesSource):
        def take(self, limit: int) -> bytes | None:
            raise OSError("the tape broke")

    stream = SourceStream(Broken())
    outcome = stream.read(1)
    assert failure(outcome).args == ("the tape broke",)
    assert isinstance(outcome, Err)
    assert outcome.value.value.to_debug_string() == "OSError: the tape broke"
    assert stream.read(1) == CLOSED
    assert stream.subscribe().ready()


# ---- output


def test_check_write_then_write() -> None:
    sink = CapturedOutput()
    stream = SinkStream(sink)
    assert stream.check_write() == Ok(ROOM)
    assert stream.write(b"one ") == Ok()
    assert stream.write(b"two") == Ok()
    assert stream.write(b"") == Ok()
    assert stream.check_write() == Ok(ROOM)
    assert stream.write_zeroes(2) == Ok()
    assert sink.getvalue() == b"one two\0\0"


def test_writing_more_than_permitted_traps() -> None:
    sink = CapturedOutput(limit=10)
    stream = SinkStream(sink)
    assert stream.check_write() == Ok(10)
    with pytest.raises(Trap, match="11 bytes, but check-write permits 10"):
        stream.write(b"x" * 11)
    with pytest.raises(Trap, match=f"{U64_MAX} bytes"):
        stream.write_zeroes(U64_MAX)
    assert stream.write(b"x" * 6) == Ok()
    with pytest.raises(Trap, match="5 bytes, but check-write permits 4"):
        stream.write(b"x" * 5)
    assert sink.getvalue() == b"x" * 6


def test_a_permit_is_good_until_it_is_used() -> None:
    """Another stream on the same sink may have taken the room, which the guest cannot know."""
    sink = CapturedOutput(limit=10)
    one, two = SinkStream(sink), SinkStream(sink)
    assert one.check_write() == two.check_write() == Ok(10)
    assert one.write(b"a" * 8) == Ok()
    assert two.write(b"b" * 8) == Ok()
    assert sink.getvalue() == b"a" * 8 + b"b" * 2


def test_no_permit_is_larger_than_the_limit() -> None:
    class Endless(NullSink):
        def permit(self) -> int:
            return U64_MAX

    assert SinkStream(Endless()).check_write() == Ok(WRITE_LIMIT)


async def test_the_most_bytes_of_a_blocking_write() -> None:
    stream = SinkStream(NullSink())
    assert await stream.blocking_write_and_flush(b"x" * 4096) == Ok()
    assert await stream.blocking_write_zeroes_and_flush(4096) == Ok()
    with pytest.raises(Trap, match="4097"):
        await stream.blocking_write_and_flush(b"x" * 4097)
    with pytest.raises(Trap, match=str(U64_MAX)):
        await stream.blocking_write_zeroes_and_flush(U64_MAX)


async def test_a_closed_stream_stays_closed() -> None:
    stream = SinkStream(CapturedOutput(limit=3))
    # The stream is full, and so closed, after the last byte, but this call does not fail.
    assert await stream.blocking_write_and_flush(b"abc") == Ok()
    for _ in range(2):
        assert stream.check_write() == CLOSED
        assert stream.write(b"x" * 10) == CLOSED
        assert stream.write_zeroes(U64_MAX) == CLOSED
        assert stream.flush() == CLOSED
        assert await stream.blocking_flush() == CLOSED
        assert await stream.blocking_write_and_flush(b"") == CLOSED
        assert stream.splice(SourceStream(BytesSource(b"x")), 1) == CLOSED
        assert await stream.blocking_splice(SourceStream(BytesSource(b"x")), 1) == CLOSED
        assert stream.subscribe().ready()


async def test_a_write_that_only_partly_fits() -> None:
    sink = CapturedOutput(limit=3)
    assert await SinkStream(sink).blocking_write_and_flush(b"abcdef") == CLOSED
    assert sink.getvalue() == b"abc"


async def test_a_failed_write_is_reported_once(pipe: tuple[int, int]) -> None:
    stream = SinkStream(ProcessOutput(pipe[0]))  # the read end, which is not writable
    error = failure(await stream.blocking_write_and_flush(b"x"))
    assert isinstance(error, OSError)
    assert stream.check_write() == CLOSED
    assert stream.subscribe().ready()


async def test_a_write_waits_for_its_flush(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    size = fill(writer)
    stream = SinkStream(ProcessOutput(writer))
    outcomes: list[object] = []

    async def guest() -> None:
        outcomes.append(await stream.blocking_write_and_flush(b"hello"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guest)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == []
        assert stream.check_write() == Ok(0)
        assert not stream.subscribe().ready()
        drain(reader, size)
    assert outcomes == [Ok()]
    assert os.read(reader, 100) == b"hello"


async def test_no_permit_while_a_flush_is_under_way(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    size = fill(writer)
    stream = SinkStream(ProcessOutput(writer))
    assert stream.write(b"hello") == Ok()
    assert stream.check_write() == Ok(ROOM - 5)
    assert stream.flush() == Ok()
    assert stream.check_write() == Ok(0)
    with pytest.raises(Trap):
        stream.write(b"more")
    drain(reader, size)
    ready = stream.subscribe()
    await ready.block()
    assert ready.ready()
    assert stream.check_write() == Ok(ROOM)


async def test_room_comes_back_as_the_other_side_reads(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    size = fill(writer)
    stream = SinkStream(ProcessOutput(writer))
    assert stream.write(b"x" * ROOM) == Ok()
    assert stream.check_write() == Ok(0)
    with trio.move_on_after(0) as scope:
        await stream.subscribe().block()
    assert scope.cancelled_caught
    drain(reader, size + ROOM)
    assert await stream.blocking_flush() == Ok()
    assert stream.check_write() == Ok(ROOM)


async def test_splice_is_limited_by_request_permit_and_data() -> None:
    sink = CapturedOutput(limit=5)
    out = SinkStream(sink)
    source = SourceStream(BytesSource(b"abcdefgh"))
    assert out.splice(source, 0) == Ok(0)
    assert out.splice(source, 2) == Ok(2)
    assert out.splice(SourceStream(BytesSource(b"CD")), U64_MAX) == Ok(2)
    assert out.splice(source, U64_MAX) == Ok(1)
    assert sink.getvalue() == b"abCDc"
    assert out.splice(source, 1) == CLOSED


async def test_splice_reports_the_end_of_its_source() -> None:
    out = SinkStream(NullSink())
    assert out.splice(SourceStream(BytesSource()), 1) == CLOSED
    assert out.check_write() == Ok(ROOM)  # the source was closed, not this stream


async def test_blocking_splice_waits_for_both_sides(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = SourceStream(ProcessStdin(reader))
    sink = CapturedOutput()
    out = SinkStream(sink)
    assert out.splice(source, 10) == Ok(0)
    outcomes: list[object] = []

    async def guest() -> None:
        outcomes.append(await out.blocking_splice(source, 10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guest)
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == []
        os.write(writer, b"hello")
    assert outcomes == [Ok(5)]
    assert sink.getvalue() == b"hello"


def test_the_interface_has_the_resources() -> None:
    streams = Streams(WasiContext())
    assert streams.InputStream is InputStream
    assert streams.OutputStream is OutputStream
