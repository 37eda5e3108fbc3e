"""wasi:cli 0.3: standard input and output as streams."""

from __future__ import annotations

import os

import pytest
import trio
from p3_guest import CANCELLED, DROPPED, GuestReader, GuestWriter, Watched
from trio.testing import wait_all_tasks_blocked

from wasi_trio.component._values import Err, Ok
from wasi_trio.runtime._streams import StreamReader
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._process_stdio import ProcessOutput, ProcessStdin
from wasi_trio.wasi._stdio import BytesSource, CapturedOutput, LinePrefixSink, StdinSource, StdoutSink
from wasi_trio.wasi.p3 import _cli as cli


class Keyboard(StdinSource):
    """Input that a test types."""

    def __init__(self):
        self.data = b""
        self.ended = False
        self.error = None
        self.event = trio.Event()
        self.waits = 0

    def type(self, data=b"", *, ended=False, error=None):
        self.data += data
        self.ended, self.error = ended, error
        self.event.set()
        self.event = trio.Event()

    def take(self, limit):
        if self.error is not None:
            raise self.error
        data, self.data = self.data[:limit], self.data[limit:]
        return None if self.ended and not data else data

    def ready(self):
        return bool(self.data or self.ended or self.error)

    async def wait(self):
        self.waits += 1
        await self.event.wait()


class Printer(StdoutSink):
    """Output whose room a test controls."""

    def __init__(self, room):
        self.left = room
        self.data = b""
        self.error = None
        self.done = True
        self.event = trio.Event()

    def change(self, room=0, *, error=None, done=True):
        self.left, self.error, self.done = room, error, done
        self.event.set()
        self.event = trio.Event()

    def permit(self):
        if self.error is not None:
            raise self.error
        return self.left

    def put(self, data):
        if self.error is not None:
            raise self.error
        self.left -= len(data)
        self.data += data

    def flushed(self):
        if self.error is not None:
            raise self.error
        return self.done

    async def wait(self):
        await self.event.wait()


def stdin(source, nursery=None):
    stream, future = cli.Stdin(WasiContext(stdin=source, nursery=nursery)).read_via_stream()
    return GuestReader(stream), Watched(future)


def stdout(sink, nursery=None):
    writer = GuestWriter()
    future = cli.Stdout(WasiContext(stdout=sink, nursery=nursery)).write_via_stream(StreamReader(writer.stream))
    return writer, Watched(future)


# ---- input -------------------------------------------------------------------------------------------------


def test_available_input():
    reader, outcome = stdin(BytesSource(b"hello world"))
    assert reader.read(5) == b"hello"
    assert reader.read(0) == b""
    assert reader.read() == b" world"
    assert outcome.value is None
    assert reader.read() == DROPPED
    assert outcome.value == Ok()


def test_no_input_is_an_end_at_once():
    reader, outcome = stdin(WasiContext().stdin)
    assert reader.read() == DROPPED
    assert outcome.value == Ok()


def test_streams_share_one_position():
    context = WasiContext(stdin=BytesSource(b"abcd"))
    first, second = (GuestReader(cli.Stdin(context).read_via_stream()[0]) for _ in range(2))
    assert [first.read(1), second.read(1), first.read(1), second.read(1)] == [b"a", b"b", b"c", b"d"]


def test_input_that_the_guest_stops_reading():
    reader, outcome = stdin(BytesSource(b"abc"))
    assert reader.read(1) == b"a"
    reader.drop()
    assert outcome.value == Ok()


async def test_input_is_waited_for(nursery):
    keyboard = Keyboard()
    reader, outcome = stdin(keyboard, nursery)
    assert reader.read() is None
    await wait_all_tasks_blocked()
    keyboard.type(b"one")
    await wait_all_tasks_blocked()
    assert reader.event() == b"one"
    assert keyboard.waits == 1
    keyboard.type(b"two")
    assert reader.read() == b"two"
    assert reader.read(0) is None
    await wait_all_tasks_blocked()
    keyboard.type(b"three")
    await wait_all_tasks_blocked()
    assert reader.event() == b""
    assert reader.read() == b"three"
    assert reader.read() is None
    await wait_all_tasks_blocked()
    keyboard.type(ended=True)
    await wait_all_tasks_blocked()
    assert reader.event() == DROPPED
    assert outcome.value == Ok()


async def test_nothing_is_read_that_no_guest_asked_for(nursery):
    keyboard = Keyboard()
    reader, _ = stdin(keyboard, nursery)
    assert reader.read() is None
    await wait_all_tasks_blocked()
    assert reader.cancel() == CANCELLED
    keyboard.type(b"abc")
    await wait_all_tasks_blocked()
    assert keyboard.data == b"abc"
    assert reader.read(2) == b"ab"
    assert keyboard.data == b"c"


async def test_a_read_after_a_cancelled_one_receives_the_data(nursery):
    keyboard = Keyboard()
    reader, _ = stdin(keyboard, nursery)
    assert reader.read() is None
    await wait_all_tasks_blocked()
    assert reader.cancel() == CANCELLED
    assert reader.read() is None
    keyboard.type(b"abc")
    await wait_all_tasks_blocked()
    assert reader.event() == b"abc"
    assert keyboard.waits == 1


async def test_a_wait_ends_with_the_stream():
    keyboard = Keyboard()
    async with trio.open_nursery() as nursery:
        reader, outcome = stdin(keyboard, nursery)
        assert reader.read() is None
        await wait_all_tasks_blocked()
        assert reader.cancel() == CANCELLED
        reader.drop()
    assert outcome.value == Ok()


@pytest.mark.parametrize(("error", "code"), [(OSError(5, "x"), "io"), (BrokenPipeError(), "pipe")])
async def test_input_that_fails(nursery, error, code):
    keyboard = Keyboard()
    reader, outcome = stdin(keyboard, nursery)
    assert reader.read() is None
    await wait_all_tasks_blocked()
    keyboard.type(error=error)
    await wait_all_tasks_blocked()
    assert reader.event() == DROPPED
    assert outcome.value == Err(code)


def test_input_that_nothing_can_wait_for():
    reader, outcome = stdin(Keyboard())
    assert reader.read() == DROPPED
    assert outcome.value == Err("io")


async def test_the_input_of_the_process(nursery):
    read, write = os.pipe()
    try:
        reader, outcome = stdin(ProcessStdin(read), nursery)
        os.write(write, b"typed")
        received = reader.read()
        while received is None:
            await trio.lowlevel.checkpoint()
            received = reader.event()
        assert received == b"typed"
        os.close(write)
        received = reader.read()
        while received is None:
            await trio.lowlevel.checkpoint()
            received = reader.event()
        assert received == DROPPED
        assert outcome.value == Ok()
    finally:
        os.close(read)


def test_input_goes_straight_to_output():
    captured = CapturedOutput()
    context = WasiContext(stdin=BytesSource(b"x" * 1_000_000), stdout=captured)
    stream, came = cli.Stdin(context).read_via_stream()
    went = Watched(cli.Stdout(context).write_via_stream(stream))
    assert captured.getvalue() == b"x" * 1_000_000
    assert (Watched(came).value, went.value) == (Ok(), Ok())


# ---- output ------------------------------------------------------------------------------------------------


def test_output_is_written_as_the_guest_writes_it():
    captured = CapturedOutput()
    writer, outcome = stdout(captured)
    assert writer.write(b"hello ") == 6
    assert captured.getvalue() == b"hello "
    assert writer.write(b"world") == 5
    assert outcome.value is None
    writer.drop()
    assert outcome.value == Ok()
    assert captured.getvalue() == b"hello world"


def test_standard_error_is_another_stream():
    out, error = CapturedOutput(), CapturedOutput()
    writer = GuestWriter()
    assert writer.write(b"early") is None
    cli.Stderr(WasiContext(stdout=out, stderr=error)).write_via_stream(writer.stream)
    assert writer.event() == 5
    assert (out.getvalue(), error.getvalue()) == (b"", b"early")


async def test_a_guest_waits_for_room(nursery):
    printer = Printer(3)
    writer, outcome = stdout(printer, nursery)
    assert writer.write(b"abcdef") == 3
    assert writer.write(b"def") is None
    await wait_all_tasks_blocked()
    assert writer.event() is None
    printer.change(10)
    await wait_all_tasks_blocked()
    assert writer.event() == 3
    assert printer.data == b"abcdef"
    writer.drop()
    assert outcome.value == Ok()


async def test_output_is_written_once_it_is_flushed(nursery):
    printer = Printer(10)
    writer, outcome = stdout(printer, nursery)
    printer.change(10, done=False)
    assert writer.write(b"abc") == 3
    writer.drop()
    await wait_all_tasks_blocked()
    assert outcome.value is None
    printer.change(10, done=False)
    await wait_all_tasks_blocked()
    assert outcome.value is None
    printer.change(10)
    await wait_all_tasks_blocked()
    assert outcome.value == Ok()


async def test_output_that_fails_while_it_is_flushed(nursery):
    printer = Printer(10)
    writer, outcome = stdout(printer, nursery)
    printer.change(10, done=False)
    writer.drop()
    await wait_all_tasks_blocked()
    printer.change(error=OSError(28, "full"))
    await wait_all_tasks_blocked()
    assert outcome.value == Err("io")


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "full"), "io"), (BrokenPipeError(), "pipe")])
async def test_output_that_fails(nursery, error, code):
    printer = Printer(0)
    writer, outcome = stdout(printer, nursery)
    assert writer.write(b"abc") is None
    await wait_all_tasks_blocked()
    printer.change(error=error)
    await wait_all_tasks_blocked()
    assert writer.event() == DROPPED
    assert outcome.value == Err(code)


def test_output_that_is_full():
    captured = CapturedOutput(5)
    writer, outcome = stdout(captured)
    assert writer.write(b"abcdefgh") == 5
    assert writer.write(b"fgh") == DROPPED
    assert outcome.value == Err("pipe")
    assert captured.getvalue() == b"abcde"


def test_output_that_has_failed_before():
    printer = Printer(10)
    printer.error = OSError(28, "full")
    writer, outcome = stdout(printer)
    assert outcome.value == Err("io")
    assert writer.write(b"abc") == DROPPED


def test_output_that_nothing_can_wait_for():
    writer, outcome = stdout(Printer(0))
    assert outcome.value == Err("io")
    assert writer.write(b"abc") == DROPPED


def test_lines_keep_their_prefix():
    captured = CapturedOutput()
    sink = LinePrefixSink(captured, "guest: ")
    writer, _ = stdout(sink)
    assert writer.write(b"one\ntwo\nth") == 10
    assert captured.getvalue() == b"guest: one\nguest: two\n"
    sink.finish()
    assert captured.getvalue().endswith(b"guest: th\n")


async def test_the_output_of_the_process(nursery):
    read, write = os.pipe()
    try:
        writer, outcome = stdout(ProcessOutput(write), nursery)
        assert writer.write(b"line\n") == 5
        assert os.read(read, 100) == b"line\n"
        writer.drop()
        assert outcome.value == Ok()
    finally:
        os.close(read)
        os.close(write)
