"""Sources and sinks that store or transform the guest's data."""

from __future__ import annotations

import pytest

from wasi_trio.component._values import Ok
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._stdio import BytesSource, CapturedOutput, LinePrefixSink, NullSink
from wasi_trio.wasi.p2._cli import SinkStream, SourceStream


def test_all_streams_on_a_source_share_its_position() -> None:
    source = BytesSource(b"abcd")
    assert SourceStream(source).read(2) == Ok(b"ab")
    assert SourceStream(source).read(2) == Ok(b"cd")


def test_a_capture_is_bounded() -> None:
    capture = CapturedOutput(limit=5)
    assert capture.getvalue() == b""
    capture.put(b"abc")
    assert capture.permit() == 2
    capture.put(b"defg")
    assert capture.getvalue() == b"abcde"
    with pytest.raises(BrokenPipeError):
        capture.permit()


def test_whole_lines_only() -> None:
    output = CapturedOutput()
    one, two = LinePrefixSink(output, "stdout [1] :: "), LinePrefixSink(output, "stdout [2] :: ")
    one.put(b"hel")
    two.put(b"first\nsecond\nth")
    one.put(b"lo\n\n")
    two.put(b"ird")
    assert output.getvalue() == (
        b"stdout [2] :: first\nstdout [2] :: second\n"
        b"stdout [1] :: hello\nstdout [1] :: \n"
    )  # fmt: skip
    before = len(output.getvalue())
    one.finish()
    two.finish()
    two.finish()
    assert output.getvalue()[before:] == b"stdout [2] :: third\n"


def test_an_endless_line_is_written_in_pieces() -> None:
    output = CapturedOutput()
    sink = LinePrefixSink(output, "> ")
    limit = sink.LINE_LIMIT
    stream = SinkStream(sink)
    for _ in range(3):
        assert stream.check_write() == Ok(limit)
        assert stream.write(b"x" * (limit - 1)) == Ok()
    sink.finish()
    lines = output.getvalue().decode().splitlines()
    assert [len(line) - len("> ") for line in lines] == [limit, limit, limit - 3]


async def test_a_flush_does_not_wait_for_the_end_of_the_line() -> None:
    stream = SinkStream(LinePrefixSink(CapturedOutput(), "> "))
    assert await stream.blocking_write_and_flush(b"no newline") == Ok()


def test_the_contexts_streams() -> None:
    shared, own = CapturedOutput(), CapturedOutput()
    stdin = BytesSource(b"x")
    options = WasiOptions(stdin=stdin, stdout=shared, stderr=shared)
    context = WasiContext(options, stderr=LinePrefixSink(own, "e: "))
    assert context.stdin is stdin
    context.stdout.put(b"out")
    context.stderr.put(b"err")
    context.finish()
    assert shared.getvalue() == b"out"
    assert own.getvalue() == b"e: err\n"


def test_nothing_is_the_default() -> None:
    context = WasiContext()
    assert context.stdin.take(1) is None
    assert isinstance(context.stdout, NullSink)
    assert isinstance(context.stderr, NullSink)
    assert not (context.stdin.is_terminal or context.stdout.is_terminal)
