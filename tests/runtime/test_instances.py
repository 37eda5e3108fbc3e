"""The parts of a component: modules instantiated several times, nested instances, aliases, and their rules."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.guests import wat
from tests.runtime.compositions import MEMORY
from tests.runtime.conftest import Start
from wasi_trio.component._errors import Trap
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.wasi._imports import link_wasi

COUNTER = """
  (core module $Counter
    (import "" "step" (func $step (result i32)))
    (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
      (global.set $n (i32.add (global.get $n) (call $step)))
      (global.get $n)))"""


async def test_a_module_instantiated_several_times(start: Start) -> None:
    """Each instance has its own globals and its own imports."""
    wat = f"""(component
      {COUNTER}
      (core module $Steps
        (func (export "one") (result i32) (i32.const 1))
        (func (export "ten") (result i32) (i32.const 10)))
      (core instance $steps (instantiate $Steps))
      (core instance $a (instantiate $Counter (with "" (instance (export "step" (func $steps "one"))))))
      (core instance $b (instantiate $Counter (with "" (instance (export "step" (func $steps "ten"))))))
      (core instance $c (instantiate $Counter (with "" (instance (export "step" (func $a "next"))))))
      (func (export "a") (result u32) (canon lift (core func $a "next")))
      (func (export "b") (result u32) (canon lift (core func $b "next")))
      (func (export "c") (result u32) (canon lift (core func $c "next"))))"""
    async with start(wat) as instance:
        assert [await instance.call("a") for _ in range(3)] == [1, 2, 3]
        assert [await instance.call("b") for _ in range(3)] == [10, 20, 30]
        assert await instance.call("c") == 4, "it calls the first, and adds what that answers"
        assert await instance.call("a") == 5
    async with start(wat) as another:
        assert await another.call("a") == 1


async def test_modules_share_a_memory_a_table_and_a_global(start: Start) -> None:
    wat = """(component
      (core module $Owner
        (memory (export "memory") 1)
        (table (export "table") 4 funcref)
        (global (export "global") (mut i32) (i32.const 5))
        (func (export "load") (result i32) (i32.load (i32.const 16))))
      (core instance $owner (instantiate $Owner))
      (core module $User
        (import "o" "memory" (memory 1))
        (import "o" "table" (table 4 funcref))
        (import "o" "global" (global $g (mut i32)))
        (type $f (func (result i32)))
        (func $seven (result i32) (i32.const 7))
        (elem (i32.const 2) $seven)
        (func (export "run") (result i32)
          (i32.store (i32.const 16) (i32.const 30))
          (global.set $g (i32.add (global.get $g) (i32.const 1)))
          (i32.add (global.get $g) (call_indirect (type $f) (i32.const 2)))))
      (core instance $user (instantiate $User (with "o" (instance $owner))))
      (func (export "run") (result u32) (canon lift (core func $user "run")))
      (func (export "load") (result u32) (canon lift (core func $owner "load"))))"""
    async with start(wat) as instance:
        assert await instance.call("run") == 6 + 7
        assert await instance.call("load") == 30


async def test_a_component_instantiated_several_times(start: Start) -> None:
    wat = f"""(component
      (component $Counting
        (import "step" (func $step (result u32)))
        (core func $step' (canon lower (func $step)))
        {COUNTER}
        (core instance $c (instantiate $Counter (with "" (instance (export "step" (func $step'))))))
        (func (export "next") (result u32) (canon lift (core func $c "next"))))
      (import "test:host/steps" (instance $steps (export "step" (func (result u32)))))
      (instance $a (instantiate $Counting (with "step" (func $steps "step"))))
      (instance $b (instantiate $Counting (with "step" (func $a "next"))))
      (instance $c (instantiate $Counting (with "step" (func $a "next"))))
      (export "a" (instance $a))
      (export "b" (instance $b))
      (export "c" (instance $c)))"""

    class Steps:
        async def step(self) -> int:
            await trio.lowlevel.checkpoint()
            return 1

    async with start(wat, {"test:host/steps": Steps()}) as instance:
        assert [await instance.call("a", "next") for _ in range(3)] == [1, 2, 3]
        assert await instance.call("b", "next") == 4
        assert await instance.call("c", "next") == 5
        assert await instance.call("b", "next") == 4 + 6


async def test_aliases_of_outer_definitions(start: Start) -> None:
    """Aliases of a module, a component and a type of the enclosing component and of the component around that."""
    wat = """(component
      (core module $Seven (func (export "f") (result i32) (i32.const 7)))
      (type $number u32)
      (component $Leaf
        (alias outer 1 $Seven (core module $M))
        (core instance $m (instantiate $M))
        (func (export "f") (result u32) (canon lift (core func $m "f"))))
      (component $Middle
        (alias outer 1 $Leaf (component $L))
        (alias outer 1 $number (type $n))
        (component $Inner
          (alias outer 2 $Seven (core module $M))
          (alias outer 1 $n (type $n))
          (core instance $m (instantiate $M))
          (func (export "g") (result $n) (canon lift (core func $m "f"))))
        (instance $l (instantiate $L))
        (instance $i (instantiate $Inner))
        (export "leaf" (instance $l))
        (export "inner" (instance $i)))
      (instance $middle (instantiate $Middle))
      (alias export $middle "leaf" (instance $leaf))
      (export "leaf" (instance $leaf))
      (export "f" (func $middle "leaf" "f"))
      (export "g" (func $middle "inner" "g")))"""
    async with start(wat) as instance:
        assert await instance.call("f") == 7
        assert await instance.call("g") == 7
        assert await instance.call("leaf", "f") == 7


PLUG = """
      (component $Plug
        (import "n" (func $n (result u32)))
        (core func $n' (canon lower (func $n)))
        (core module $M (import "" "n" (func $n (result i32)))
          (func (export "f") (result i32) (i32.add (call $n) (i32.const 1))))
        (core instance $m (instantiate $M (with "" (instance (export "n" (func $n'))))))
        (func (export "f") (result u32) (canon lift (core func $m "f"))))"""


async def test_modules_components_and_functions_given_as_arguments(start: Start) -> None:
    wat = f"""(component
      (core module $Eight (func (export "f") (result i32) (i32.const 8)))
      {PLUG}
      (component $Number
        (alias outer 1 $Eight (core module $M))
        (core instance $m (instantiate $M))
        (func (export "n") (result u32) (canon lift (core func $m "f"))))
      (component $Socket
        (import "module" (core module $M (export "f" (func (result i32)))))
        (import "plug" (component $P
          (import "n" (func (result u32)))
          (export "f" (func (result u32)))))
        (import "n" (func $n (result u32)))
        (core instance $m (instantiate $M))
        (func (export "g") (result u32) (canon lift (core func $m "f")))
        (instance $p (instantiate $P (with "n" (func $n))))
        (export "f" (func $p "f")))
      (instance $number (instantiate $Number))
      (instance $s (instantiate $Socket
        (with "module" (core module $Eight)) (with "plug" (component $Plug)) (with "n" (func $number "n"))))
      (export "g" (func $s "g"))
      (export "f" (func $s "f")))"""
    async with start(wat) as instance:
        assert await instance.call("g") == 8
        assert await instance.call("f") == 9


async def test_a_component_calls_the_enclosing_one(start: Start) -> None:
    wat = f"""(component
      {PLUG}
      (core module $Eight (func (export "f") (result i32) (i32.const 8)))
      (core instance $m (instantiate $Eight))
      (func $n (result u32) (canon lift (core func $m "f")))
      (instance $p (instantiate $Plug (with "n" (func $n))))
      (export "n" (func $n))
      (export "f" (func $p "f")))"""
    async with start(wat) as instance:
        assert await instance.call("n") == 8
        assert await instance.call("f") == 9


async def test_instances_made_of_items_and_exported_from_within(start: Start) -> None:
    wat = """(component
      (core module $M (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))
      (core instance $m (instantiate $M))
      (func $double (param "n" u32) (result u32) (canon lift (core func $m "f")))
      (instance $inner (export "double" (func $double)))
      (instance $outer (export "inner" (instance $inner)) (export "again" (func $double)))
      (export "test:a/doubling@1.2.3" (instance $inner))
      (export "outer" (instance $outer)))"""
    async with start(wat) as instance:
        assert await instance.call("test:a/doubling@1.2.3", "double", 4) == 8
        assert await instance.call("test:a/doubling", "double", 5) == 10
        assert await instance.call("outer", "again", 6) == 12


def post_return(does: str) -> str:
    return f"""(component
      (import "test:host/h" (instance $h (export "f" (func))))
      (core func $f (canon lower (func $h "f")))
      {MEMORY}
      (core module $M
        (import "m" "memory" (memory 1))
        (import "h" "f" (func $f))
        (global $returned (mut i32) (i32.const 0))
        (data (i32.const 16) "text")
        (func (export "text") (result i32)
          (i32.store (i32.const 0) (i32.const 16))
          (i32.store (i32.const 4) (i32.const 4))
          (i32.const 0))
        (func (export "post") (param $result i32)
          (global.set $returned (i32.add (global.get $returned) (i32.const 1)))
          ;; it may spoil what it gave: that was copied by now
          (i32.store (i32.const 16) (i32.const 0))
          (i32.store (local.get $result) (i32.const -1))
          {does})
        (func (export "returned") (result i32) (global.get $returned)))
      (core instance $m (instantiate $M
        (with "m" (instance $memory)) (with "h" (instance (export "f" (func $f))))))
      (func (export "text") (result string)
        (canon lift (core func $m "text") (memory $mem) (post-return (core func $m "post"))))
      (func (export "returned") (result u32) (canon lift (core func $m "returned"))))"""


class Host:
    def __init__(self) -> None:
        self.calls = 0

    def f(self) -> None:
        self.calls += 1


class WaitingHost(Host):
    async def f(self) -> None:  # type: ignore[override]
        self.calls += 1
        await trio.lowlevel.checkpoint()


async def test_post_return_is_called_once_for_each_call(start: Start) -> None:
    async with start(post_return(""), {"test:host/h": Host()}) as instance:
        assert await instance.call("text") == "text"
        assert await instance.call("returned") == 1


@pytest.mark.parametrize("host", [Host, WaitingHost])
async def test_post_return_may_not_call_out(start: Start, host: type[Host]) -> None:
    made = host()
    async with start(post_return("(call $f)"), {"test:host/h": made}) as instance:
        with pytest.raises(Trap, match="cannot leave component instance"):
            await instance.call("text")
        assert made.calls == 0
        assert instance.dead is not None


async def test_a_trap_in_post_return(start: Start) -> None:
    async with start(post_return("unreachable"), {"test:host/h": Host()}) as instance:
        with pytest.raises(Trap, match="unreachable"):
            await instance.call("text")


async def test_post_return_across_a_composition(start: Start) -> None:
    """The callee's post-return is called after the caller has its copy."""
    wat = f"""(component
      (import "test:host/h" (instance $h (export "f" (func))))
      (component $Inner {post_return("").removeprefix("(component").replace("test:host/h", "h")}
      (component $Outer
        (import "inner" (instance $inner
          (export "text" (func (result string)))
          (export "returned" (func (result u32)))))
        {MEMORY}
        (core func $text (canon lower (func $inner "text") (memory $mem) (realloc $realloc)))
        (core func $returned (canon lower (func $inner "returned")))
        (core module $M
          (import "" "text" (func $text (param i32)))
          (import "" "returned" (func $returned (result i32)))
          (import "" "memory" (memory 1))
          ;; the length of the text and how often the callee's post-return was called by then
          (func (export "f") (result i32)
            (call $text (i32.const 8))
            (i32.add (i32.mul (i32.load (i32.const 12)) (i32.const 10)) (call $returned))))
        (core instance $m (instantiate $M (with "" (instance
          (export "text" (func $text)) (export "returned" (func $returned)) (export "memory" (memory $mem))))))
        (func (export "f") (result u32) (canon lift (core func $m "f"))))
      (instance $i (instantiate $Inner (with "h" (instance $h))))
      (instance $o (instantiate $Outer (with "inner" (instance $i))))
      (export "f" (func $o "f")))"""
    async with start(wat, {"test:host/h": Host()}) as instance:
        assert await instance.call("f") == 41


def realloc_that_calls(what: str) -> str:
    """Return a component whose ``take`` gets its string through a realloc that first makes the given call."""
    return f"""(component
      (import "test:host/h" (instance $h
        (export "thing" (type $thing (sub resource)))
        (export "f" (func))
        (export "[constructor]thing" (func (result (own $thing))))))
      (alias export $h "thing" (type $thing))
      (core func $f (canon lower (func $h "f")))
      (core func $new (canon lower (func $h "[constructor]thing")))
      (core func $drop (canon resource.drop $thing))
      (core module $M
        (import "" "f" (func $f))
        (import "" "new" (func $new (result i32)))
        (import "" "drop" (func $drop (param i32)))
        (memory (export "memory") 1)
        (global $thing (mut i32) (i32.const 0))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) {what} (i32.const 64))
        (func (export "prepare") (global.set $thing (call $new)))
        (func (export "take") (param i32 i32) (result i32) (local.get 1)))
      (core instance $m (instantiate $M (with "" (instance
        (export "f" (func $f)) (export "new" (func $new)) (export "drop" (func $drop))))))
      (func (export "prepare") (canon lift (core func $m "prepare")))
      (func (export "take") (param "s" string) (result u32)
        (canon lift (core func $m "take") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"""


class Things(Host):
    class Thing:
        pass


class WaitingThings(WaitingHost):
    class Thing:
        pass


@pytest.mark.parametrize("host", [Things, WaitingThings])
@pytest.mark.parametrize("what", ["(call $f)", "(drop (call $new))", "(call $drop (global.get $thing))"])
async def test_realloc_may_not_call_out(start: Start, what: str, host: Any) -> None:
    made = host()
    async with start(realloc_that_calls(what), {"test:host/h": made}) as instance:
        await instance.call("prepare")
        with pytest.raises(Trap, match="cannot leave component instance"):
            await instance.call("take", None, "text")
        assert made.calls == 0
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("prepare")


async def test_realloc_without_outgoing_calls(start: Start) -> None:
    async with start(realloc_that_calls(""), {"test:host/h": Things()}) as instance:
        assert await instance.call("take", None, "text") == 4
        assert await instance.call("take", None, "") == 0


async def test_a_start_function_may_call_the_host(start: Start) -> None:
    wat = """(component
      (import "test:host/h" (instance $h (export "f" (func))))
      (core func $f (canon lower (func $h "f")))
      (core module $M (import "" "f" (func $f)) (func $start (call $f) (call $f)) (start $start) (func (export "g")))
      (core instance $m (instantiate $M (with "" (instance (export "f" (func $f))))))
      (func (export "g") (canon lift (core func $m "g"))))"""
    for host in (Host(), WaitingHost()):
        async with start(wat, {"test:host/h": host}) as instance:
            assert host.calls == 2
            await instance.call("g")


async def test_a_start_function_that_is_cancelled_leaves_nothing(start: Start) -> None:
    wat = """(component
      (core module $M (func $start (loop (br 0))) (start $start))
      (core instance $m (instantiate $M)))"""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def make() -> None:
                async with start(wat):
                    pytest.fail("it spins")

            nursery.start_soon(make)
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught


async def test_components_of_two_engines_in_one_process() -> None:
    """wasmtime aborts if engines share the type of a host function."""
    code = wat.load("hello")
    with Engine() as one, Engine() as other:
        for engine in (one, other):
            linked = link_wasi(Component.compile(engine, code))
            assert linked.find_export("wasi:http/incoming-handler@0.2.0", "handle") is not None
