"""Commands in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime
from trio.testing import MockClock

from tests.guests import wat
from tests.guests.build import build
from wasi_trio import Trap, WasiOptions
from wasi_trio.testing import CommandResult, LoadError, run

BOTH = pytest.mark.parametrize("name", ["command", "p3_command"])

#: a command that calls a host function
CALLS = """(component
  (import "acme:host/work" (instance $work (export "work" (func))))
  (core func $work (canon lower (func $work "work")))
  (core module $Main
    (import "host" "work" (func $work))
    (func (export "run") (result i32) (call $work) (i32.const 0)))
  (core instance $main (instantiate $Main (with "host" (instance (export "work" (func $work))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"""


@BOTH
async def test_what_it_prints(name: str) -> None:
    assert await run(wat.source(name)) == CommandResult(0, "Hello, world!\n", "")


@BOTH
async def test_exit_codes(name: str) -> None:
    assert (await run(wat.source(name), ["fail"])).exit_code == 1
    assert (await run(wat.source(name), ["3"])).exit_code == 3


@BOTH
async def test_input(name: str) -> None:
    assert (await run(wat.source(name), ["cat"], stdin="täxt\n")).stdout == "täxt\n"
    assert (await run(wat.source(name), ["cat"], stdin=b"bytes")).stdout == "bytes"
    assert (await run(wat.source(name), ["cat"])).stdout == ""


async def test_arguments_and_environment(tmp_path: Path) -> None:
    path = tmp_path / "tool.wasm"
    path.write_bytes(wat.load("command"))
    assert (await run(path, ["args", "-x"])).stdout == "tool.wasm\nargs\n-x\n"
    assert (await run(path, ["env"], env={"A": "1"})).stdout == "A=1\n"
    assert (await run(path, ["env"], wasi=WasiOptions(env=[("B", "2")]))).stdout == "B=2\n"


async def test_a_python_command() -> None:
    result = await run(build("python_command"), ["tell"], stdin="one\ntwo\n", env={"A": "1"})
    assert result.exit_code == 0
    assert "['one\\n', 'two\\n']" in result.stdout
    assert result.stderr == "told\n"


@BOTH
async def test_a_trap(name: str) -> None:
    with pytest.raises(Trap, match="wasm backtrace"):
        await run(wat.source(name), ["trap"])


async def test_a_trap_comes_with_what_the_command_wrote() -> None:
    with pytest.raises(Trap) as caught:
        await run(build("python_command"), ["raise"])
    assert "ValueError: raised" in caught.value.__notes__[0]


async def test_time(autojump_clock: MockClock) -> None:
    class Work:
        def __init__(self, context: Any) -> None:
            pass

        async def work(self) -> None:
            await trio.sleep(3600)

    assert (await run(CALLS, imports={"acme:host/work": Work})).exit_code == 0
    assert trio.current_time() >= 3600


async def test_a_host_function_that_fails() -> None:
    class Work:
        def __init__(self, context: Any) -> None:
            pass

        def work(self) -> None:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await run(CALLS, imports={"acme:host/work": Work})


async def test_a_command_that_is_cancelled(autojump_clock: MockClock) -> None:
    class Work:
        def __init__(self, context: Any) -> None:
            pass

        async def work(self) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        await run(CALLS, imports={"acme:host/work": Work})
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.wasm", "cannot read nowhere.wasm"),
        (wat.source("hello"), "the component exports no wasi:cli/run"),
        (bytes(wasmtime.wat2wasm(CALLS)), "nothing provides these imports of the component: acme:host/work"),
    ],
)
async def test_what_is_no_command(source: str | bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        await run(source)
