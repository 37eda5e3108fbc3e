"""Commands in a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime
from trio.testing import MockClock

from tests.guests import wat
from tests.guests.build import build
from wasi_trio import Trap, WasiOptions
from wasi_trio.testing import Answer, CommandResult, LoadError, OutgoingRequest, UnexpectedRequest, run

BOTH = pytest.mark.parametrize("name", ["command", "p3_command"])

#: A command that calls a host function.
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

_ERRORS = re.search(r"\(type \$DNS'.*?\(export \"error-code\"[^\n]*", wat.source("hello"), re.DOTALL)
assert _ERRORS is not None

#: A command that sends a request to https://example.test/, and succeeds after any outcome.
FETCHES = f"""(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $pollable (type $pollable'))
    (export "pollable" (type $pollable (eq $pollable')))
    {_ERRORS[0]}
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-request" (type $request (sub resource)))
    (export "request-options" (type $options (sub resource)))
    (export "future-incoming-response" (type $future (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[constructor]outgoing-request" (func (param "headers" (own $fields)) (result (own $request))))
    (export "[method]outgoing-request.set-authority"
      (func (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))
    (export "[method]future-incoming-response.subscribe"
      (func (param "self" (borrow $future)) (result (own $pollable))))))
  (alias export $http "error-code" (type $error-code))
  (alias export $http "outgoing-request" (type $request))
  (alias export $http "request-options" (type $options))
  (alias export $http "future-incoming-response" (type $future))
  (import "wasi:http/outgoing-handler@0.2.0" (instance $outgoing
    (alias outer 1 $error-code (type $error-code'))
    (export "error-code" (type $error-code (eq $error-code')))
    (alias outer 1 $request (type $request'))
    (export "outgoing-request" (type $request (eq $request')))
    (alias outer 1 $options (type $options'))
    (export "request-options" (type $options (eq $options')))
    (alias outer 1 $future (type $future'))
    (export "future-incoming-response" (type $future (eq $future')))
    (export "handle"
      (func (param "request" (own $request)) (param "options" (option (own $options)))
        (result (result (own $future) (error $error-code)))))))
  (core module $Memory
    (memory (export "memory") 1)
    (data (i32.const 64) "example.test")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $request (canon lower (func $http "[constructor]outgoing-request")))
  (core func $authority (canon lower (func $http "[method]outgoing-request.set-authority") (memory $mem)))
  (core func $subscribe (canon lower (func $http "[method]future-incoming-response.subscribe")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $handle (canon lower (func $outgoing "handle") (memory $mem) (realloc $realloc)))
  (core module $Main
    (import "memory" "memory" (memory 1))
    (import "wasi" "fields" (func $fields (result i32)))
    (import "wasi" "request" (func $request (param i32) (result i32)))
    (import "wasi" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
    (import "wasi" "handle" (func $handle (param i32 i32 i32 i32)))
    (import "wasi" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "wasi" "block" (func $block (param i32)))
    (func (export "run") (result i32)
      (local $made i32)
      (local.set $made (call $request (call $fields)))
      (drop (call $authority (local.get $made) (i32.const 1) (i32.const 64) (i32.const 12)))
      ;; without options; of the result at 0, the future is at 8
      (call $handle (local.get $made) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $block (call $subscribe (i32.load (i32.const 8))))
      (i32.const 0)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "wasi" (instance
      (export "fields" (func $fields))
      (export "request" (func $request))
      (export "authority" (func $authority))
      (export "handle" (func $handle))
      (export "subscribe" (func $subscribe))
      (export "block" (func $block))))))
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


async def test_outgoing_requests() -> None:
    asked: list[str] = []

    async def outgoing(request: OutgoingRequest) -> Answer:
        asked.append(request.url)
        return Answer()

    assert (await run(FETCHES, outgoing=outgoing)).exit_code == 0
    assert asked == ["https://example.test/"]
    with pytest.raises(UnexpectedRequest, match="the guest asked for GET https://example"):
        await run(FETCHES)


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
        (wat.source("hello"), "the component is not a command"),
        (bytes(wasmtime.wat2wasm(CALLS)), "nothing provides these imports of the component: acme:host/work"),
    ],
)
async def test_what_is_no_command(source: str | bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        await run(source)


async def test_a_command_that_uses_a_feature_which_is_off() -> None:
    class Work:
        def work(self) -> None:
            pass

    text = CALLS.replace("(call $work)", "(call $tail)").replace(
        '(func (export "run")', '(func $tail return_call $work) (func (export "run")'
    )
    imports = {"acme:host/work": Work()}
    with pytest.raises(LoadError, match="feature tail-call, which is off"):
        await run(text, imports=imports)
    assert (await run(text, imports=imports, features=["tail-call"])).exit_code == 0
