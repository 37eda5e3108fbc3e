"""Display of texts from guests, components and clients."""

from __future__ import annotations

import io
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import wasmtime

from tests.cli.terminal import at_a_terminal, ran
from tests.e2e.process import command
from tests.e2e.support import engine, serve
from tests.guests import wat
from wasi_trio._texts import MAX_LENGTH, Lines, get_logger, shown, shown_document, shown_lines
from wasi_trio.component._imports import Imports
from wasi_trio.serve._loading import link
from wasi_trio.wasi._process_stdio import ProcessOutput
from wasi_trio.wasi._stdio import LinePrefixSink, TerminalSink
from wasi_trio.wasi.http._errors import HttpError

FORGED = "ERROR wasi_trio.serve: forged"
#: A text that controls a terminal and ends a line.
WILD = f"\x1b[31mred\x9b1m\n{FORGED}\r\u202e\x00"
#: The same text as a name in WebAssembly's text format.
WILD_NAME = f"\\1b[31mred\\c2\\9b1m\\0a{FORGED}\\0d\\e2\\80\\ae\\00"


def tame(text: str) -> bool:
    """Return whether the text does not control a terminal, and has no line of the guest."""
    return all(c.isprintable() or c == "\n" for c in text) and not any(
        line.startswith(FORGED) for line in text.split("\n")
    )


# ---- one text --------------------------------------------------------------------------------------------


def test_a_text_is_one_line_that_steers_nothing() -> None:
    assert shown(WILD) == f"\\x1b[31mred\\x9b1m\\n{FORGED}\\r\\u202e\\x00"
    assert shown("Zürich \\ 東京") == "Zürich \\ 東京"
    assert shown("\ud800") == "\\ud800"
    assert shown(shown(WILD)) == shown(WILD)


def test_a_text_is_cut() -> None:
    assert shown("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert shown("x" * (MAX_LENGTH + 5)) == "x" * MAX_LENGTH + "... (5 more characters)"


def test_of_a_text_with_lines_only_the_first_begins_at_the_margin() -> None:
    assert shown_lines("one\n\x1btwo\r\n\tthree") == "one\n    \\x1btwo\n            three"
    many = shown_lines("\n".join("y" * 2 * MAX_LENGTH for _ in range(1000)))
    assert len(many) < 80 * MAX_LENGTH
    assert many.endswith("\n    ...")
    assert shown_document("interface a {\n\tb: func();\n}\x1b") == "interface a {\n        b: func();\n}\\x1b"


# ---- the log ---------------------------------------------------------------------------------------------


@pytest.fixture
def written() -> Iterator[Callable[[], str]]:
    """The log of the package, by a user's handler and formatter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("wasi_trio")
    logger.addHandler(handler)
    yield stream.getvalue
    logger.removeHandler(handler)


def test_what_a_message_is_given(written: Callable[[], str]) -> None:
    log = get_logger("wasi_trio.serve")
    log.error("%s, %r and %d: %s", WILD, WILD, 3, Lines(f"a trap\n{WILD}"))
    assert tame(written())
    assert written().startswith("ERROR wasi_trio.serve: \\x1b[31mred")
    assert "and 3: a trap\n    \\x1b[31m" in written()
    log.error("%s", "x" * 10_000_000)
    assert len(written()) < 8 * MAX_LENGTH


def test_a_traceback(written: Callable[[], str]) -> None:
    log = get_logger("wasi_trio.serve")
    try:
        raise ValueError(WILD)
    except ValueError:
        log.exception("it failed")
    assert tame(written())
    assert "it failed\nTraceback (most recent call last):\n" in written()
    assert "raise ValueError(WILD)" in written()
    try:
        raise ValueError("z" * 10_000_000)
    except ValueError:
        log.exception("it failed")
    assert len(written()) < 16 * MAX_LENGTH


def test_an_error_code_with_a_text_of_a_guests() -> None:
    error = HttpError("internal-error", "w" * 1_000_000 + WILD)
    assert len(str(error)) < 2 * MAX_LENGTH
    assert error.code.value.endswith(WILD)


def trapping(name: str) -> bytes:
    """Return a guest that traps in a function of this name."""
    text = wat.source("trap")
    assert '(func (export "handle")' in text
    text = text.replace('(func (export "handle")', f'(func (@name "{name}") (export "handle")')
    return bytes(wasmtime.wat2wasm(text))


@pytest.mark.parametrize("name", [WILD_NAME, "n" * 3_000_000])
async def test_a_backtrace(written: Callable[[], str], name: str) -> None:
    guest = link(engine(), trapping(name), "wild", Imports())
    async with serve(guest) as site:
        assert (await site.ask()).status == 500
    assert "unreachable" in written()
    assert tame(written())
    assert len(written()) < 8 * MAX_LENGTH


async def test_a_host_function_that_fails_with_the_words_of_a_guest(written: Callable[[], str]) -> None:
    class Work:
        def work(self, which: int) -> None:
            raise KeyError(f"no such thing: {WILD}") if which == 1 else ValueError(WILD)

        def later(self, which: int) -> None: ...

    guest = link(engine(), wat.load("host_call"), "wild", Imports({"acme:host/work": Work()}))
    async with serve(guest) as site:
        assert (await site.ask("/1")).status == 500
        assert (await site.ask("/2")).status == 500
    assert "no such thing" in written()
    assert tame(written())


async def test_an_access_log(tmp_path: Path) -> None:
    log, toml = tmp_path / "access", tmp_path / "hypercorn.toml"
    toml.write_text(f"accesslog = '{log}'\naccess_log_format = '%(r)s %({{x-wild}}i)s %(s)s'\n")
    path = tmp_path / "hello.wasm"
    path.write_bytes(wat.load("hello"))
    async with command(tmp_path, path, "--hypercorn-config", str(toml)) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
            await client.send_all(b"GET /%b HTTP/1.0\r\nX-Wild: \x9b31mred\r\n\r\n" % (b"p" * 2000))
            assert (await client.receive_some()).startswith(b"HTTP/1.1 200")
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    line = await trio.Path(log).read_text()
    assert tame(line)
    assert "\\x9b31mred 200" in line
    assert len(line) < 2 * MAX_LENGTH


# ---- commands --------------------------------------------------------------------------------------------

COMMAND = """(component
  (core module $M (@name "NAME")
    (func (@name "NAME") (export "run") (result i32) unreachable))
  (core instance $m (instantiate $M))
  (func $run (result (result)) (canon lift (core func $m "run")))
  (instance $i (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $i)))"""


@pytest.fixture
def wild(tmp_path: Path) -> str:
    path = tmp_path / "wild.wat"
    path.write_text(COMMAND.replace("NAME", WILD_NAME))
    return str(path)


def test_run_tells_of_a_trap(wild: str) -> None:
    status, _, stderr = ran("run", wild)
    assert status == 134
    assert "trapped: wasm trap: wasm `unreachable`" in stderr
    assert "\\x1b[31mred" in stderr
    assert tame(stderr)


def test_inspect_at_a_terminal_and_to_a_pipe(wild: str) -> None:
    status, stdout, _ = ran("inspect", wild)
    assert status == 0
    assert "\\x1b[31mred" in stdout
    assert tame(stdout.replace("\t", " "))
    with at_a_terminal("inspect", wild) as terminal:
        assert terminal.finish() == 0
        output = terminal.text
    assert "\\x1b[31mred" in output
    assert "\x9b" not in output
    assert "\u202e" not in output


# ---- output of guests ------------------------------------------------------------------------------------


def read(descriptor: int) -> bytes:
    return os.read(descriptor, 1 << 16)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_what_is_printed_at_a_terminal_is_escaped(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = LinePrefixSink(TerminalSink(ProcessOutput(writer)), "stdout [1] :: ")
    data = "\ta Zürich\r\n\x1b[2J東京\rstdout [2] :: x\n".encode() + b"\x9b\n"
    for number in range(len(data)):
        sink.put(data[number : number + 1])
    assert read(reader).decode() == (
        "stdout [1] :: \ta Zürich\r\nstdout [1] :: \\x1b[2J東京\\rstdout [2] :: x\nstdout [1] :: \\x9b\n"
    )


def test_elsewhere_the_bytes_stay(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = LinePrefixSink(ProcessOutput(writer), "> ")
    sink.put(b"\x1b[2J\xff\n")
    assert read(reader) == b"> \x1b[2J\xff\n"


async def test_an_output_that_can_not_be_written_for_a_while(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Writing to /dev/full fails, because it has no space."""
    reader, writer = pipe
    caplog.set_level(logging.WARNING)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        output = ProcessOutput(descriptor, get_logger("wasi_trio.serve"))
        for _ in range(3):
            output.put(b"lost\n")
            assert output.permit()
            assert output.flushed()
        assert caplog.text.count("No space left on device") == 1
        os.dup2(writer, descriptor)
        output.put(b"written\n")
        assert read(reader) == b"written\n"
        assert "works again; 15 bytes from guests were lost" in caplog.text
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, descriptor)
        os.close(full)
        output.put(b"x")
        assert caplog.text.count("No space left on device") == 2
    finally:
        os.close(descriptor)


LIMITED = """
import logging, os, resource, sys
from wasi_trio._texts import get_logger
from wasi_trio.wasi._process_stdio import ProcessOutput
logging.basicConfig(stream=sys.stderr, format="%(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
output = ProcessOutput(1, get_logger("wasi_trio.serve"))
output.put(b"1234567890123\\n")
output.put(b"more\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
output.put(b"again\\n")
"""


def test_a_line_of_which_a_part_was_written_is_ended(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        arguments = [sys.executable, "-c", LIMITED]
        done = subprocess.run(arguments, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == b"1234567890\nagain\n"
    assert done.stderr == (
        "Cannot write to standard output; output of guests is lost until it recovers: File too large\n"
        "Writing to standard output works again; 9 bytes from guests were lost\n"
    )


async def test_a_server_goes_on_when_its_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "stdout.wasm"
    path.write_bytes(wat.load("stdout"))
    async with command(tmp_path, path) as server:
        # For the first instance of new code, wasmtime writes an image of its memory. The limit applies to that as well.
        assert (await server.ask()).status == 200
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        assert (await server.ask()).status == 200
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        assert (await server.ask()).status == 200
        await server.said("Writing to standard output works again")
        assert "a line on stdout\n" in server.stdout
