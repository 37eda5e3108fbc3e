"""Standard streams inherited from the process."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from wasi_trio.wasi._process_stdio import ProcessOutput, ProcessStdin
from wasi_trio.wasi._stdio import ROOM, StdinSource


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(read end, write end) of a pipe."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0), open(writer, "wb", buffering=0):
        yield reader, writer


async def read(source: StdinSource, limit: int) -> bytes | None:
    while not source.ready():
        await source.wait()
    return source.take(limit)


def fill(writer: int) -> int:
    os.set_blocking(writer, False)
    size = 0
    try:
        while True:
            size += os.write(writer, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return size


def drain(reader: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(reader, size - len(data))
    return data


async def test_a_cancelled_wait_loses_no_input(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = ProcessStdin(reader)
    with trio.move_on_after(0) as scope:
        await source.wait()
    assert scope.cancelled_caught
    os.write(writer, b"typed later")
    assert await read(source, 5) == b"typed"
    assert await read(source, 100) == b" later"


def test_input_outlives_the_run_that_asked_for_it(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = ProcessStdin(reader)

    async def give_up() -> None:
        with trio.move_on_after(0):
            await source.wait()

    async def wait_for_it() -> bytes | None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def type_something() -> None:
                await trio.testing.wait_all_tasks_blocked()
                os.write(writer, b"hello")

            return await read(source, 100)

    trio.run(give_up)
    assert trio.run(wait_for_it) == b"hello"


async def test_polling_alone_makes_progress(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = ProcessStdin(reader)
    os.write(writer, b"x")
    with trio.fail_after(30):
        while not source.ready():
            await trio.lowlevel.checkpoint()
    assert source.take(1) == b"x"
    assert source.take(1) == b""


async def test_the_end_of_input_and_its_failure(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with empty.open() as file:
        source = ProcessStdin(file.fileno())
        assert await read(source, 1) is None
        assert await read(source, 1) is None
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        source = ProcessStdin(directory)
        for _ in range(2):
            with pytest.raises(IsADirectoryError):
                await read(source, 1)
    finally:
        os.close(directory)


async def test_input_from_a_descriptor_that_does_not_block(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(reader, False)
    source = ProcessStdin(reader)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def type_something() -> None:
            await trio.testing.wait_all_tasks_blocked()
            os.write(writer, b"hello")

        assert await read(source, 100) == b"hello"


def test_output_with_room_is_written_at_once(pipe: tuple[int, int]) -> None:
    """This needs neither an event loop nor a thread."""
    reader, writer = pipe
    output = ProcessOutput(writer)
    output.put(b"hello\n")
    assert output.flushed()
    assert os.read(reader, 100) == b"hello\n"


@pytest.mark.parametrize("blocking", [True, False])
async def test_output_without_room_is_written_in_order_without_blocking(pipe: tuple[int, int], blocking: bool) -> None:
    reader, writer = pipe
    size = fill(writer)
    os.set_blocking(writer, blocking)
    output = ProcessOutput(writer)
    output.put(b"one ")
    assert output.permit() == ROOM - 4
    assert not output.flushed()
    output.put(b"two ")
    output.put(b"x" * (2 * ROOM))  # data beyond the permit is accepted all the same
    assert output.permit() == 0
    wanted = size + 8 + 2 * ROOM
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.drain)
        data = await trio.to_thread.run_sync(drain, reader, wanted)
    assert data[size:] == b"one two " + b"x" * (2 * ROOM)
    assert output.flushed()
    assert output.permit() == ROOM
    output.put(b"three")
    assert drain(reader, 5) == b"three"


async def test_a_reader_that_is_gone_before_the_write() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        output = ProcessOutput(writer)
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                output.put(b"x")
        with pytest.raises(BrokenPipeError):
            output.permit()
        with pytest.raises(BrokenPipeError):
            output.flushed()
    finally:
        os.close(writer)


async def test_a_reader_that_goes_during_the_write() -> None:
    reader, writer = os.pipe()
    fill(writer)
    try:
        output = ProcessOutput(writer)
        output.put(b"x")
        os.close(reader)
        await output.drain()
        with pytest.raises(BrokenPipeError):
            output.flushed()
    finally:
        os.close(writer)


def test_terminal_detection(pipe: tuple[int, int]) -> None:
    ours, theirs = pty.openpty()
    try:
        assert ProcessStdin(theirs).is_terminal
        assert ProcessOutput(theirs).is_terminal
        assert not ProcessStdin(pipe[0]).is_terminal
        assert not ProcessOutput(pipe[1]).is_terminal
    finally:
        os.close(ours)
        os.close(theirs)
