"""Instances outside the server, of both versions of WASI, with the same calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import trio
import trio.testing
import wasmtime

from tests.runtime.async_guests import component
from wasi_trio import (
    Component,
    Engine,
    Imports,
    Instance,
    LinkedComponent,
    LinkError,
    Trap,
    WasiContext,
    WasiOptions,
    link_wasi,
    open_instance,
)

P2 = """(component
  (import "test:host/api" (instance $api (export "wait" (func (param "seconds" u32) (result u32)))))
  (core func $wait (canon lower (func $api "wait")))
  (core module $Main
    (import "" "wait" (func $wait (param i32) (result i32)))
    (func (export "wait") (param i32) (result i32) (call $wait (local.get 0)))
    (func (export "trap") (param i32) (result i32) unreachable))
  (core instance $main (instantiate $Main (with "" (instance (export "wait" (func $wait))))))
  (func (export "wait") (param "seconds" u32) (result u32) (canon lift (core func $main "wait")))
  (func (export "trap") (param "seconds" u32) (result u32) (canon lift (core func $main "trap"))))"""

P3 = component(
    """
    (func (export "wait") (param i32) (result i32)
      (drop (call $await (call $api.wait (local.get 0) (i32.const 64))))
      (call $return (i32.load (i32.const 64)))
      (i32.const 0))
    (func (export "trap") (param i32) (result i32) unreachable)
    """,
    imports='(import "test:host/api" (instance $api (export "wait" (func async (param "seconds" u32) (result u32)))))',
    cores={
        "api.wait": ('lower (func $api "wait") async (memory $mem)', "(param i32 i32) (result i32)"),
        "return": ("task.return (result u32)", "(param i32)"),
    },
    exports=dict.fromkeys(("wait", "trap"), 'async (param "seconds" u32) (result u32)'),
)


class Api:
    """Records the ends of its waits. ``end`` is the end of the instance."""

    ended: ClassVar[list[str]]

    def __init__(self, context: WasiContext) -> None:
        self.nursery = context.nursery

    async def wait(self, seconds: int) -> int:
        if seconds == 99:
            raise ZeroDivisionError("in the host")
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.ended.append("cancelled")
            raise
        self.ended.append("returned")
        return seconds


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def linked(engine: Engine, text: str) -> tuple[LinkedComponent, type[Api]]:
    class Fresh(Api):
        ended: ClassVar[list[str]] = []

    compiled = Component.compile(engine, bytes(wasmtime.wat2wasm(text)))
    return link_wasi(compiled, Imports({"test:host/api": Fresh})), Fresh


both = pytest.mark.parametrize("text", [P2, P3], ids=["p2", "p3"])


@both
async def test_calls(text: str, engine: Engine, autojump_clock: trio.testing.MockClock) -> None:
    it, api = linked(engine, text)
    async with open_instance(it, WasiOptions()) as instance:
        assert await instance.call("wait", None, 3) == 3
        assert await instance.call("wait", None, 4) == 4
    assert api.ended == ["returned", "returned"]
    with pytest.raises(Trap, match="the instance is closed"):
        await instance.call("wait", None, 5)


async def test_several_tasks_call_at_once(engine: Engine, autojump_clock: trio.testing.MockClock) -> None:
    it, _ = linked(engine, P3)
    results = []

    async def call(seconds: int) -> None:
        results.append(await instance.call("wait", None, seconds))

    async with open_instance(it) as instance, trio.open_nursery() as nursery:
        for seconds in range(5):
            nursery.start_soon(call, seconds)
    assert sorted(results) == [0, 1, 2, 3, 4]


@both
async def test_the_exception_of_the_block_has_no_group(text: str, engine: Engine) -> None:
    it, _ = linked(engine, text)
    with pytest.raises(KeyError, match="in the block"):
        async with open_instance(it):
            raise KeyError("in the block")
    with pytest.raises(ZeroDivisionError, match="in the host"):
        async with open_instance(it) as instance:
            await instance.call("wait", None, 99)


@both
async def test_a_trap_leaves_the_block(text: str, engine: Engine) -> None:
    it, _ = linked(engine, text)
    async with open_instance(it) as instance:
        with pytest.raises(Trap, match="unreachable") as first:
            await instance.call("trap", None, 0)
        await trio.lowlevel.checkpoint()
        with pytest.raises(Trap, match=r"cannot enter component instance: it trapped: .*unreachable") as later:
            await instance.call("wait", None, 0)
        assert later.value.__cause__ is first.value


@both
async def test_the_end_of_the_block_ends_the_work(
    text: str, engine: Engine, autojump_clock: trio.testing.MockClock
) -> None:
    """A call of another task gets a Trap. With WASI 0.2, the host function runs in that task, so it first ends."""
    it, api = linked(engine, text)
    ended = []

    async def call(instance: Instance) -> None:
        with pytest.raises(Trap) as caught:
            await instance.call("wait", None, 10)
        ended.append(str(caught.value))

    async with trio.open_nursery() as nursery, open_instance(it) as instance:
        nursery.start_soon(call, instance)
        await trio.testing.wait_all_tasks_blocked()
    assert ended == ["the instance was closed during the call"]
    assert api.ended == ["returned" if text is P2 else "cancelled"]


@both
async def test_a_cancelled_block(text: str, engine: Engine, autojump_clock: trio.testing.MockClock) -> None:
    it, api = linked(engine, text)
    with trio.move_on_after(3) as scope:
        async with open_instance(it) as instance:
            await instance.call("wait", None, 1000)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(3)
    assert api.ended == ["cancelled"]


@both
async def test_a_task_in_the_nursery_that_fails(text: str, engine: Engine) -> None:
    class Starting(Api):
        ended: ClassVar[list[str]] = []

        async def wait(self, seconds: int) -> int:
            self.nursery.start_soon(self.fail)
            return seconds

        async def fail(self) -> None:
            raise KeyError("in a task")

    compiled = Component.compile(engine, bytes(wasmtime.wat2wasm(text)))
    with pytest.raises(KeyError, match="in a task"):
        async with open_instance(link_wasi(compiled, Imports({"test:host/api": Starting}))) as instance:
            await instance.call("wait", None, 1)
            await trio.sleep_forever()


async def test_a_component_that_is_not_linked(engine: Engine) -> None:
    plain = Component.compile(
        engine,
        bytes(
            wasmtime.wat2wasm("""(component
              (core module $M (func (export "seven") (result i32) (i32.const 7)))
              (core instance $m (instantiate $M))
              (func (export "seven") (result u32) (canon lift (core func $m "seven"))))""")
        ),
    )
    async with open_instance(plain) as instance:
        assert await instance.call("seven") == 7
    with pytest.raises(LinkError, match="test:host/api"):
        async with open_instance(Component.compile(engine, bytes(wasmtime.wat2wasm(P3)))):
            pytest.fail("the component has an import")


async def test_limits_and_meter(engine: Engine, autojump_clock: trio.testing.MockClock) -> None:
    seconds = 0.0

    def meter(task: Any, used: float) -> None:
        nonlocal seconds
        seconds += used

    it, _ = linked(engine, P3)
    async with open_instance(it, meter=meter) as instance:
        await instance.call("wait", None, 1)
    assert seconds > 0
