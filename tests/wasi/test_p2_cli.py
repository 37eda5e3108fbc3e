"""wasi:cli, wasi:random and the wall clock."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok
from wasi_trio.wasi import _cli as common_cli
from wasi_trio.wasi._context import WasiContext, WasiOptions, trio_wall_clock
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi._stdio import BytesSource, CapturedOutput
from wasi_trio.wasi.p2 import _cli as cli
from wasi_trio.wasi.p2._clocks import WallClock
from wasi_trio.wasi.p2._random import CHUNK, LIMIT, Insecure, InsecureSeed, Random


def seeded() -> WasiContext:
    return WasiContext(WasiOptions(random=random.Random(7).randbytes))


def test_environment() -> None:
    environment = cli.Environment(WasiContext(WasiOptions(args=["app", "-v"], env=[("A", "1")], initial_cwd="/srv")))
    assert list(environment.get_arguments()) == ["app", "-v"]
    assert list(environment.get_environment()) == [("A", "1")]
    assert environment.initial_cwd() == "/srv"
    bare = cli.Environment(WasiContext())
    assert (list(bare.get_arguments()), list(bare.get_environment()), bare.initial_cwd()) == ([], [], None)


@pytest.mark.parametrize(
    ("function", "argument", "code"),
    [("exit", Ok(), 0), ("exit", Err(), 1), ("exit_with_code", 0, 0), ("exit_with_code", 42, 42)],
)
def test_exit(function: str, argument: object, code: int) -> None:
    with pytest.raises(Exit, match=f"code {code}") as caught:
        getattr(common_cli.Exit(WasiContext()), function)(argument)
    assert caught.value.code == code


async def test_standard_streams() -> None:
    out, error = CapturedOutput(), CapturedOutput()
    context = WasiContext(stdin=BytesSource(b"in"), stdout=out, stderr=error)
    stdin, stdout, stderr = cli.Stdin(context), cli.Stdout(context), cli.Stderr(context)
    assert stdin.get_stdin().read(10) == Ok(b"in")
    assert await stdout.get_stdout().blocking_write_and_flush(b"out") == Ok()
    assert await stderr.get_stderr().blocking_write_and_flush(b"error") == Ok()
    assert (out.getvalue(), error.getvalue()) == (b"out", b"error")


def test_opening_a_stream_again_gives_no_second_permit() -> None:
    context = WasiContext()
    stdin, stdout, stderr = cli.Stdin(context), cli.Stdout(context), cli.Stderr(context)
    assert stdin.get_stdin() is stdin.get_stdin()
    assert stdout.get_stdout() is stdout.get_stdout()
    assert stderr.get_stderr() is stderr.get_stderr()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_terminals(is_terminal: bool) -> None:
    class Source(BytesSource):
        pass

    class Sink(CapturedOutput):
        pass

    Source.is_terminal = Sink.is_terminal = is_terminal
    context = WasiContext(stdin=Source(), stdout=Sink(), stderr=Sink())
    of_stdin = common_cli.TerminalStdin(context).get_terminal_stdin()
    assert isinstance(of_stdin, common_cli.TerminalInput.TerminalInput) == is_terminal
    for found in (
        common_cli.TerminalStdout(context).get_terminal_stdout(),
        common_cli.TerminalStderr(context).get_terminal_stderr(),
    ):
        assert isinstance(found, common_cli.TerminalOutput.TerminalOutput) == is_terminal
        assert (found is None) != is_terminal


async def test_random_values() -> None:
    for context in (WasiContext(), seeded()):
        source, insecure = Random(context), Insecure(context)
        values = [source.get_random_u64() for _ in range(64)] + [insecure.get_insecure_random_u64() for _ in range(64)]
        values += InsecureSeed(context).insecure_seed()
        assert len(set(values)) == 130
        assert all(0 <= value < 2**64 for value in values)
        assert max(values) >= 2**63
        with trio.testing.assert_no_checkpoints():
            assert len(await source.get_random_bytes(100)) == 100
            assert len(await insecure.get_insecure_random_bytes(100)) == 100
            assert await source.get_random_bytes(0) == b""


async def test_random_can_be_repeated() -> None:
    assert await Random(seeded()).get_random_bytes(20) == await Random(seeded()).get_random_bytes(20)


async def test_much_randomness_lets_others_run() -> None:
    with trio.testing.assert_checkpoints():
        data = await Random(WasiContext()).get_random_bytes(2 * CHUNK + 1)
    assert len(data) == 2 * CHUNK + 1


@pytest.mark.parametrize("size", [LIMIT + 1, 2**64 - 1])
async def test_too_much_randomness_traps(size: int) -> None:
    with pytest.raises(Trap, match=str(size)):
        await Random(WasiContext()).get_random_bytes(size)
    with pytest.raises(Trap, match=str(size)):
        await Insecure(WasiContext()).get_insecure_random_bytes(size)


def test_wall_clock() -> None:
    def at(nanoseconds: int) -> WallClock:
        return WallClock(WasiContext(WasiOptions(wall_clock=lambda: nanoseconds)))

    assert at(1_700_000_000_123_456_789).now() == (1_700_000_000, 123_456_789)
    assert at(-1).now() == (0, 0)
    assert WallClock(WasiContext()).now().seconds > 1_700_000_000
    resolution = WallClock(WasiContext()).resolution()
    assert resolution.seconds == 0
    assert 1 <= resolution.nanoseconds < 1_000_000_000


async def test_a_wall_clock_that_follows_trio(autojump_clock: trio.testing.MockClock) -> None:
    clock = WallClock(WasiContext(WasiOptions(wall_clock=trio_wall_clock(5_000_000_000))))
    assert clock.now() == (5, 0)
    await trio.sleep(1.5)
    assert clock.now() == (6, 500_000_000)
