"""Guests that compute for a long time are interrupted without visible effects for other guests and calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._errors import Trap
from wasi_trio.component._imports import Imports
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine, Limits
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._run_queue import SHORT_TICK
from wasi_trio.wasi._context import WasiContext

RETURNED = 2


class Clock:
    """``tick`` advances the guest's time, so that the guest is interrupted at the next opportunity."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def tick(self) -> None:
        self.engine.ticker.tick(SHORT_TICK)


@asynccontextmanager
async def running(wat: str, limits: Limits | None = None) -> AsyncIterator[Instance]:
    with Engine(cache=False) as engine:
        linked = Component.compile(engine, bytes(wasmtime.wat2wasm(wat))).link(Imports({"": Clock(engine)}))
        async with trio.open_nursery() as nursery:
            instance = await Instance.instantiate(linked, WasiContext(nursery=nursery), limits or Limits())
            assert instance.pump is not None
            nursery.start_soon(instance.pump.run)
            yield instance
            nursery.cancel_scope.cancel()
        instance.close()


CALLEE = """
  (import "tick" (func $tick))
  (component $callee
    (import "tick" (func $tick))
    (core func $tick' (canon lower (func $tick)))
    (core func $return (canon task.return (result u32)))
    (core module $m
      (import "" "tick" (func $tick))
      (import "" "return" (func $return (param i32)))
      (func $interruptible)
      (func (export "work") (result i32)
        (local $left i32)
        (local.set $left (i32.const 100))
        (loop $again
          (call $tick)
          (call $interruptible)
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $return (i32.const 7))
        (i32.const 0))
      (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
    (core instance $i (instantiate $m (with "" (instance
      (export "tick" (func $tick')) (export "return" (func $return))))))
    (func (export "work") async (result u32)
      (canon lift (core func $i "work") async (callback (core func $i "callback")))))
  (instance $callee (instantiate $callee (with "tick" (func $tick))))"""

CALLER = f"""(component {CALLEE}
  (component $caller
    (import "work" (func $work async (result u32)))
    (core module $libc (memory (export "memory") 1))
    (core instance $libc (instantiate $libc))
    (core func $work' (canon lower (func $work) async (memory (core memory $libc "memory"))))
    (core func $return (canon task.return (result u32)))
    (core module $m
      (import "" "work" (func $work (param i32) (result i32)))
      (import "" "return" (func $return (param i32)))
      (func (export "run") (result i32)
        (call $return (call $work (i32.const 16)))
        (i32.const 0))
      (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
    (core instance $i (instantiate $m (with "" (instance
      (export "work" (func $work')) (export "return" (func $return))))))
    (func (export "run") async (result u32)
      (canon lift (core func $i "run") async (callback (core func $i "callback")))))
  (instance $caller (instantiate $caller (with "work" (func $callee "work"))))
  (func (export "work") (alias export $callee "work"))
  (func (export "run") (alias export $caller "run")))"""


async def test_a_callee_that_computes_has_not_begun_to_wait() -> None:
    """An asynchronous call of a function that never waits returns at once, however long it computes."""
    async with running(CALLER) as instance:
        assert await instance.call("run") == RETURNED


async def test_a_call_from_the_host_is_interrupted() -> None:
    interruptions = 0

    async def count() -> None:
        nonlocal interruptions
        while True:
            await trio.lowlevel.checkpoint()
            interruptions += 1

    async with running(CALLER) as instance, trio.open_nursery() as nursery:
        nursery.start_soon(count)
        assert await instance.call("work") == 7
        nursery.cancel_scope.cancel()
    assert interruptions >= 100


async def test_a_callee_that_never_waits_traps_in_the_end() -> None:
    async with running(CALLER, Limits(non_preemptible_seconds=0)) as instance:
        with pytest.raises(Trap, match="an asynchronous call from another component ran for"):
            await instance.call("run")


CRITICAL = """(component
  (import "tick" (func $tick))
  (core func $tick' (canon lower (func $tick)))
  (core func $return (canon task.return (result u32)))
  (core module $m
    (import "" "tick" (func $tick))
    (import "" "return" (func $return (param i32)))
    (global $count (mut i32) (i32.const 0))
    (func $interruptible)
    (func (export "bump") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.get $count))
    (func (export "section") (result i32)
      (local $before i32)
      (local.set $before (global.get $count))
      (call $tick)
      (call $interruptible)
      (call $return (i32.sub (global.get $count) (local.get $before)))
      (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m (with "" (instance
    (export "tick" (func $tick')) (export "return" (func $return))))))
  (func (export "bump") (result u32) (canon lift (core func $i "bump")))
  (func (export "section") async (result u32)
    (canon lift (core func $i "section") async (callback (core func $i "callback")))))"""


async def test_no_other_call_runs_in_between() -> None:
    async with running(CRITICAL) as instance:
        pump = instance.pump
        assert pump is not None
        ended: list[str] = []
        both = trio.Event()
        calls: dict[str, Any] = {}

        for name in ("section", "bump"):

            def on_done(name: str = name) -> None:
                ended.append(name)
                if len(ended) == 2:
                    both.set()

            function = instance.linked.find_export(name)
            assert isinstance(function, LiftedFunction)
            calls[name] = pump.call(function, (), on_done)
        await both.wait()
        assert (calls["section"].outcome, calls["bump"].outcome) == (0, 1)
        assert ended == ["section", "bump"]
