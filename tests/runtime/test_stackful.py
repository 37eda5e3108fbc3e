"""Async functions lifted without a callback: each call has its own stack, and several may be in progress."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._errors import HostError, Trap, Unsupported
from wasi_trio.component._imports import Imports
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext

#: ``wait`` waits in the middle of core code until ``release`` is called for the same slot, and returns the code of its
#: event. Optionally it holds back other calls meanwhile.
WAT = """(component
  (type $f (future))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $new (canon future.new $f))
  (core func $read (canon future.read $f async))
  (core func $write (canon future.write $f async))
  (core func $set-new (canon waitable-set.new))
  (core func $join (canon waitable.join))
  (core func $set-wait (canon waitable-set.wait (memory $memory)))
  (core func $inc (canon backpressure.inc))
  (core func $dec (canon backpressure.dec))
  (core func $return (canon task.return (result u32)))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "" "new" (func $new (result i64)))
    (import "" "read" (func $read (param i32 i32) (result i32)))
    (import "" "write" (func $write (param i32 i32) (result i32)))
    (import "" "set-new" (func $set-new (result i32)))
    (import "" "join" (func $join (param i32 i32)))
    (import "" "set-wait" (func $set-wait (param i32 i32) (result i32)))
    (import "" "inc" (func $inc))
    (import "" "dec" (func $dec))
    (import "" "return" (func $return (param i32)))
    (func $slot (param $number i32) (result i32)
      (i32.add (i32.const 64) (i32.shl (local.get $number) (i32.const 2))))
    (func (export "wait") (param $number i32) (param $holds i32)
      (local $ends i64) (local $set i32) (local $rx i32)
      (local.set $ends (call $new))
      (local.set $rx (i32.wrap_i64 (local.get $ends)))
      (i32.store (call $slot (local.get $number)) (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (if (i32.ne (i32.const -1) (call $read (local.get $rx) (i32.const 0))) (then unreachable))
      (local.set $set (call $set-new))
      (call $join (local.get $rx) (local.get $set))
      (if (local.get $holds) (then (call $inc)))
      (call $return (call $set-wait (local.get $set) (i32.const 0)))
      (if (local.get $holds) (then (call $dec))))
    (func $release (param i32) (result i32)
      (call $write (i32.load (call $slot (local.get 0))) (i32.const 0)))
    (func (export "release") (param i32) (call $return (call $release (local.get 0))))
    (func (export "release-synchronously") (param i32) (result i32) (call $release (local.get 0)))
    (func (export "silent")))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
    (export "new" (func $new)) (export "read" (func $read)) (export "write" (func $write))
    (export "set-new" (func $set-new)) (export "join" (func $join)) (export "set-wait" (func $set-wait))
    (export "inc" (func $inc)) (export "dec" (func $dec)) (export "return" (func $return))))))
  (func (export "wait") async (param "slot" u32) (param "holds" bool) (result u32)
    (canon lift (core func $i "wait") async))
  (func (export "release") async (param "slot" u32) (result u32) (canon lift (core func $i "release") async))
  (func (export "release-synchronously") (param "slot" u32) (result u32)
    (canon lift (core func $i "release-synchronously")))
  (func (export "silent") async (result u32) (canon lift (core func $i "silent") async)))"""

FUTURE_READ = 4
COMPLETED = 0


@asynccontextmanager
async def running() -> AsyncIterator[Instance]:
    with Engine(cache=False, features=["async-stackful"]) as engine:
        linked = Component.compile(engine, bytes(wasmtime.wat2wasm(WAT))).link(Imports())
        async with trio.open_nursery() as nursery:
            instance = await Instance.instantiate(linked, WasiContext(nursery=nursery))
            assert instance.pump is not None
            nursery.start_soon(instance.pump.run)
            yield instance
            nursery.cancel_scope.cancel()
        instance.close()


async def outcomes(instance: Instance, *calls: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Begin calls in this order; gives the number and the result of each, in the order in which they ended."""
    pump = instance.pump
    assert pump is not None
    ended: list[int] = []
    begun = []
    all_ended = trio.Event()

    def on_done(number: int) -> None:
        ended.append(number)
        if len(ended) == len(calls):
            all_ended.set()

    for number, (name, *arguments) in enumerate(calls):
        function = instance.linked.find_export(name)
        assert isinstance(function, LiftedFunction)
        begun.append(pump.call(function, arguments, functools.partial(on_done, number)))
    await all_ended.wait()
    return [(number, begun[number].failure or begun[number].outcome) for number in ended]


@pytest.mark.parametrize("release", ["release", "release-synchronously"])
async def test_a_call_enters_beside_a_waiting_one(release: str) -> None:
    async with running() as instance:
        ended = await outcomes(instance, ("wait", 0, False), (release, 0))
        assert ended == [(1, COMPLETED), (0, FUTURE_READ)]


async def test_stacks_continue_in_any_order() -> None:
    async with running() as instance:
        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
            waits = [("wait", slot, False) for slot in range(4)]
            releases = [("release", slot) for slot in order]
            ended = await outcomes(instance, *waits, *releases)
            assert sorted(ended) == [(n, FUTURE_READ if n < 4 else COMPLETED) for n in range(8)]
            assert [n for n, _ in ended if n < 4] == order


async def test_backpressure_holds_calls_back() -> None:
    """Backpressure does not hold back synchronous calls. Here such a call releases one that ends the backpressure."""
    async with running() as instance:
        ended = await outcomes(
            instance, ("wait", 1, False), ("wait", 0, True), ("release", 1), ("release-synchronously", 0)
        )
        assert [n for n, _ in ended] == [3, 1, 2, 0]


async def test_remaining_stacks_are_unwound() -> None:
    async with running() as instance:
        for slot in range(3):
            function = instance.linked.find_export("wait")
            assert isinstance(function, LiftedFunction)
            assert instance.pump is not None
            instance.pump.call(function, (slot, False), lambda: None)
        await outcomes(instance, ("wait", 3, False), ("release", 3))
    assert instance.dead


async def test_a_wrong_argument_fails_its_call_alone() -> None:
    async with running() as instance:
        with pytest.raises(HostError, match="cannot be made from a Python str"):
            await instance.call("wait", None, "first", False)
        assert await outcomes(instance, ("wait", 0, False), ("release", 0))


async def test_a_deadlock_ends_every_call() -> None:
    async with running() as instance:
        ended = await outcomes(instance, ("wait", 0, False), ("wait", 1, False))
        assert sorted(n for n, _ in ended) == [0, 1]
        assert all(isinstance(outcome, Trap) and "deadlock" in str(outcome) for _, outcome in ended)


async def test_a_call_must_return() -> None:
    async with running() as instance:
        with pytest.raises(Trap, match="failed to produce a result"):
            await instance.call("silent")


def test_off_by_default() -> None:
    with Engine(cache=False) as engine, pytest.raises(Unsupported, match="feature component-model-async-stackful"):
        Component.compile(engine, bytes(wasmtime.wat2wasm(WAT)))
