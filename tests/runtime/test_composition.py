"""Components that contain components: values that cross between them, waits, traps and cancellation."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.runtime.compositions import MEMORY, chain, counters
from tests.runtime.conftest import Start
from wasi_trio.component._errors import Trap
from wasi_trio.component._values import record_class

STRINGS = ["", "plain", "grüße", "\x00", "日本語", "a😀b", "ÿ" * 300, "x" * 5000 + "é", "y" * 1000 + "→" * 1000]
ENCODINGS = ["utf8", "utf16", "latin1+utf16"]


class Here:
    """The end of a chain."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def f(self, x: Any) -> Any:
        self.seen.append(x)
        return x


class Later(Here):
    """An end of the chain that waits."""

    async def f(self, x: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super().f(x)


@pytest.mark.parametrize("host", [Here, Later])
@pytest.mark.parametrize("outer", ENCODINGS)
@pytest.mark.parametrize("inner", ENCODINGS)
async def test_strings_in_every_encoding(start: Start, inner: str, outer: str, host: type[Here]) -> None:
    end = host()
    async with start(chain("string", 2, [inner, outer]), {"test:host/end": end}) as instance:
        for text in STRINGS:
            assert await instance.call("f", None, text) == text
        assert end.seen == STRINGS


LISTED = "(type $t (list string))"
PERSON = record_class(("name", "tags", "born"))
RECORD = """
  (type $tags (list string))
  (type $t' (record (field "name" string) (field "tags" $tags) (field "born" u32)))"""


@pytest.mark.parametrize("host", [Here, Later])
async def test_lists(start: Start, host: type[Here]) -> None:
    async with start(chain("$t", 2, ENCODINGS, LISTED), {"test:host/end": host()}) as instance:
        for value in ([], [""], STRINGS):
            assert await instance.call("f", None, value) == value
    async with start(chain("$t", 2, ["utf8"] * 3, "(type $t (list u8))"), {"test:host/end": host()}) as instance:
        for data in (b"", b"\x00", bytes(range(256)) * 100):
            assert await instance.call("f", None, data) == data


async def test_records(start: Start) -> None:
    """A record has a name only if it is imported or exported itself. Here it is passed inside a tuple too."""
    pair = "(type $tags (list string)) (type $t (tuple string $tags u32))"
    async with start(chain("$t", 5, ENCODINGS, pair), {"test:host/end": Here()}) as instance:
        value = ("Zoë", ["a", "→", "😀"], 1815)
        assert await instance.call("f", None, value) == value


NAMED = f"""(component
  (component $Provider
    {MEMORY}
    (type $person' (record (field "name" string) (field "tags" (list string)) (field "born" u32)))
    (export $person "person" (type $person'))
    (core module $Main
      (import "" "memory" (memory 1))
      (func (export "older") (param $name i32) (param $len i32) (param $tags i32) (param $count i32) (param $born i32)
          (result i32)
        (i32.store (i32.const 64) (local.get $name))
        (i32.store (i32.const 68) (local.get $len))
        (i32.store (i32.const 72) (local.get $tags))
        (i32.store (i32.const 76) (local.get $count))
        (i32.store (i32.const 80) (i32.sub (local.get $born) (i32.const 1)))
        (i32.const 64)))
    (core instance $main (instantiate $Main (with "" (instance $memory))))
    (func (export "older") (param "p" $person) (result $person)
      (canon lift (core func $main "older") (memory $mem) (realloc $realloc) string-encoding=utf16)))
  (component $Consumer
    (import "people" (instance $people
      (type $person' (record (field "name" string) (field "tags" (list string)) (field "born" u32)))
      (export "person" (type $person (eq $person')))
      (export "older" (func (param "p" $person) (result $person)))))
    (alias export $people "person" (type $person))
    {MEMORY}
    (core func $older (canon lower (func $people "older") (memory $mem) (realloc $realloc)))
    (core module $Main
      (import "" "older" (func $older (param i32 i32 i32 i32 i32 i32)))
      (import "" "memory" (memory 1))
      (func (export "much-older") (param i32 i32 i32 i32 i32) (result i32)
        (call $older (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (i32.const 64))
        (call $older (i32.load (i32.const 64)) (i32.load (i32.const 68)) (i32.load (i32.const 72))
          (i32.load (i32.const 76)) (i32.load (i32.const 80)) (i32.const 128))
        (i32.const 128)))
    (core instance $main (instantiate $Main (with "" (instance
      (export "older" (func $older)) (export "memory" (memory $mem))))))
    (export $exported "person" (type $person))
    (func (export "much-older") (param "p" $exported) (result $exported)
      (canon lift (core func $main "much-older") (memory $mem) (realloc $realloc))))
  (instance $people (instantiate $Provider))
  (instance $consumer (instantiate $Consumer (with "people" (instance $people))))
  (export "people" (instance $consumer)))
"""


async def test_a_record_with_two_names(start: Start) -> None:
    async with start(NAMED) as instance:
        person = PERSON("Ada", ["countess", "日本"], 1815)  # type: ignore[call-arg]
        assert await instance.call("people", "much-older", person) == ("Ada", ["countess", "日本"], 1813)


class Gate:
    """A host function that waits until the test releases it."""

    def __init__(self) -> None:
        self.called = trio.Event()
        self.open = trio.Event()
        self.cancelled = False

    async def f(self, x: Any) -> Any:
        self.called.set()
        try:
            await self.open.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise
        return x


@pytest.mark.parametrize("depth", [1, 2, 3, 20])
async def test_a_wait_below_many_components(start: Start, depth: int) -> None:
    gate = Gate()
    answers = []
    wat = chain("string", 2, ["utf8", "utf16"] * depth)
    async with start(wat, {"test:host/end": gate}) as instance, trio.open_nursery() as nursery:

        async def call() -> None:
            answers.append(await instance.call("f", None, "waited"))

        nursery.start_soon(call)
        await gate.called.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        gate.open.set()
    assert answers == ["waited"]


async def test_cancellation_unwinds_all_components(start: Start) -> None:
    gate = Gate()
    async with start(chain("string", 2, ["utf8"] * 3), {"test:host/end": gate}) as instance:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(instance.call, "f", None, "never")
                await gate.called.wait()
                scope.cancel()
        assert scope.cancelled_caught
        assert gate.cancelled
        assert instance.dead is not None
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("f", None, "again")


async def test_a_host_exception_passes_through_all_components(start: Start) -> None:
    class Broken:
        async def f(self, x: Any) -> Any:
            await trio.lowlevel.checkpoint()
            raise KeyError(x)

    class BrokenAtOnce:
        def f(self, x: Any) -> Any:
            raise KeyError(x)

    for host in (Broken(), BrokenAtOnce()):
        async with start(chain("string", 2, ["utf8"] * 3), {"test:host/end": host}) as instance:
            with pytest.raises(KeyError, match="deep"):
                await instance.call("f", None, "deep")
            assert all(store is None or store.dead for store in instance.stores[1:])
            with pytest.raises(Trap, match="cannot enter component instance"):
                await instance.call("f", None, "again")


def inner_that(does: str) -> str:
    """Return a component whose ``outer`` calls another component's ``inner``, which has the given body."""
    return f"""(component
      (component $Inner
        (core module $M (func $deep {does}) (func (export "f") (call $deep)))
        (core instance $m (instantiate $M))
        (func (export "f") (canon lift (core func $m "f"))))
      (component $Outer
        (import "f" (func $f))
        (core func $f' (canon lower (func $f)))
        (core module $M
          (import "" "f" (func $f))
          (func (export "outer") (call $f))
          (func (export "fine")))
        (core instance $m (instantiate $M (with "" (instance (export "f" (func $f'))))))
        (func (export "outer") (canon lift (core func $m "outer")))
        (func (export "fine") (canon lift (core func $m "fine"))))
      (instance $inner (instantiate $Inner))
      (instance $outer (instantiate $Outer (with "f" (func $inner "f"))))
      (export "outer" (func $outer "outer"))
      (export "fine" (func $outer "fine")))"""


async def test_a_trap_in_the_inner_component(start: Start) -> None:
    async with start(inner_that("unreachable")) as instance:
        await instance.call("fine")
        with pytest.raises(Trap) as caught:
            await instance.call("outer")
        first, *rest = str(caught.value).splitlines()
        assert "unreachable" in first
        assert any("deep" in line for line in rest)
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("fine")


async def test_a_busy_inner_component_yields_and_can_be_cancelled(start: Start) -> None:
    async with start(inner_that("(loop (br 0))")) as instance, start(inner_that("nop")) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(instance.call, "outer")
            for _ in range(20):
                await trio.lowlevel.checkpoint()
                await other.call("outer")
            nursery.cancel_scope.cancel()
        assert instance.dead is not None
        assert other.dead is None


async def test_endless_recursion_in_the_inner_component(start: Start) -> None:
    async with start(inner_that("(call $deep)")) as instance:
        with pytest.raises(Trap, match="call stack exhausted"):
            await instance.call("outer")


@pytest.mark.parametrize("host", [Here, Later])
@pytest.mark.parametrize("depth", [70, 300])
async def test_too_many_components_deep(start: Start, depth: int, host: type[Here]) -> None:
    async with start(chain("string", 2, ["utf8"] * depth), {"test:host/end": host()}) as instance:
        with pytest.raises(Trap, match="components call each other more than 64 levels deep"):
            await instance.call("f", None, "deep")


@pytest.mark.parametrize("host", [Here, Later])
async def test_many_components_deep(start: Start, host: type[Here]) -> None:
    async with start(chain("string", 2, ["utf8"] * 60), {"test:host/end": host()}) as instance:
        assert await instance.call("f", None, "deep") == "deep"
        assert await instance.call("f", None, "again") == "again"


CALLS_BACK = """(component
  (import "test:host/loop" (instance $loop (export "back" (func))))
  (core func $back (canon lower (func $loop "back")))
  (core module $M
    (import "" "back" (func $back))
    (func (export "enter") (call $back)))
  (core instance $m (instantiate $M (with "" (instance (export "back" (func $back))))))
  (func (export "enter") (canon lift (core func $m "enter"))))
"""


async def test_reentrance_is_refused(start: Start) -> None:
    class Loop:
        instance: Any = None
        refused = 0

        async def back(self) -> None:
            with pytest.raises(Trap, match="cannot enter component instance"):
                await self.instance.call("enter")
            self.refused += 1

    loop = Loop()
    async with start(CALLS_BACK, {"test:host/loop": loop}) as instance:
        loop.instance = instance
        await instance.call("enter")
        assert loop.refused == 1


async def test_reentrance_of_a_component_in_the_middle_is_refused(start: Start) -> None:
    """The provider's ``get`` calls the host, which calls another function of the provider."""

    class Clock:
        instance: Any = None

        def __init__(self) -> None:
            self.ticks: list[int] = []

        async def tick(self, n: int) -> None:
            self.ticks.append(n)
            with pytest.raises(Trap, match="cannot enter component instance"):
                await self.instance.call("provider", "dropped")

    clock = Clock()
    wat = counters("(call $get (call $make (local.get $n)))", provider="(call $tick (i32.const 7))")
    async with start(wat, {"test:host/clock": clock}) as instance:
        clock.instance = instance
        assert await instance.call("run", None, 4) == 40
        assert clock.ticks == [7]
