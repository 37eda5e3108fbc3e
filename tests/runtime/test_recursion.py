"""Components that call each other recursively, with WASI 0.2 and 0.3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

from wasi_trio.component._errors import Trap
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import FEATURES, Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext

#: ``down(n)`` calls the inner component's ``back(n - 1)``, which calls ``down(n - 1)``. ``down(0)`` calls the host.
#: ``twice(n)`` calls the inner component twice, one call after the other. The resource's destructor calls ``down``.
WAT = """(component
  (import "test:host/end" (instance $host (export "f" (func (param "x" u32) (result u32)))))
  %s
  (core module $Table
    (type $ft (func (param i32) (result i32)))
    (table (export "table") 1 funcref)
    (func (export "dropped") (param i32)
      (drop (call_indirect (type $ft) (local.get 0) (i32.const 0)))))
  (core instance $t (instantiate $Table))
  (core func $host' (canon lower (func $host "f")))
  (core module $Down
    (import "" "table" (table 1 funcref))
    (import "" "host" (func $host (param i32) (result i32)))
    (type $ft (func (param i32) (result i32)))
    (global $entered (mut i32) (i32.const 0))
    (func $down (export "down") (param i32) (result i32)
      (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
      (if (result i32) (i32.eqz (local.get 0))
        (then (call $host (i32.const 1000)))
        (else (i32.add
          (i32.const 1)
          (call_indirect (type $ft) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))))))
    (func (export "twice") (param i32) (result i32)
      (i32.add (call $down (local.get 0)) (call $down (local.get 0))))
    (func (export "entered") (result i32) (global.get $entered)))
  (core instance $down (instantiate $Down (with "" (instance
    (export "table" (table $t "table")) (export "host" (func $host'))))))
  (func $down' (param "n" u32) (result u32) (canon lift (core func $down "down")))
  (type $r (resource (rep i32) (dtor (core func $t "dropped"))))
  (core func $new (canon resource.new $r))
  (component $Inner
    (import "down" (func $down (param "n" u32) (result u32)))
    (import "r" (type $r (sub resource)))
    (core func $down' (canon lower (func $down)))
    (core func $drop (canon resource.drop $r))
    (core module $M
      (import "" "down" (func $down (param i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "back") (param i32) (result i32) (call $down (local.get 0)))
      (func (export "discard") (param i32) (result i32) (call $drop (local.get 0)) (i32.const 7)))
    (core instance $m (instantiate $M (with "" (instance
      (export "down" (func $down')) (export "drop" (func $drop))))))
    (func (export "back") (param "n" u32) (result u32) (canon lift (core func $m "back")))
    (func (export "discard") (param "r" (own $r)) (result u32) (canon lift (core func $m "discard"))))
  (instance $inner (instantiate $Inner (with "down" (func $down')) (with "r" (type $r))))
  (core func $back (canon lower (func $inner "back")))
  (core func $discard (canon lower (func $inner "discard")))
  (core module $Fill
    (import "" "table" (table 1 funcref))
    (import "" "back" (func $back (param i32) (result i32)))
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "discard" (func $discard (param i32) (result i32)))
    (elem (i32.const 0) func $back)
    (func (export "discarding") (param i32) (result i32) (call $discard (call $new (local.get 0)))))
  (core instance $fill (instantiate $Fill (with "" (instance
    (export "table" (table $t "table")) (export "back" (func $back))
    (export "new" (func $new)) (export "discard" (func $discard))))))
  (export "down" (func $down'))
  (func (export "twice") (param "n" u32) (result u32) (canon lift (core func $down "twice")))
  (func (export "entered") (result u32) (canon lift (core func $down "entered")))
  (func (export "discarding") (param "n" u32) (result u32) (canon lift (core func $fill "discarding"))))
"""
#: The second makes it a component of WASI 0.3, whose instances have a pump.
VERSIONS = {"0.2": WAT % "", "0.3": WAT % "(core func (canon waitable-set.new))"}


class Here:
    def f(self, x: int) -> int:
        return x


class Later(Here):
    async def f(self, x: int) -> int:
        await trio.lowlevel.checkpoint()
        return x


class Gate:
    def __init__(self) -> None:
        self.called = trio.Event()
        self.open = trio.Event()

    async def f(self, x: int) -> int:
        self.called.set()
        await self.open.wait()
        return x


@asynccontextmanager
async def started(version: str, host: Any) -> AsyncIterator[Instance]:
    with Engine(cache=False, features=FEATURES) as engine:
        linked = Component.compile(engine, bytes(wasmtime.wat2wasm(VERSIONS[version]))).link(
            Imports({"test:host/end": host})
        )
        async with trio.open_nursery() as nursery:
            instance = await Instance.instantiate(linked, WasiContext(nursery=nursery))
            assert (instance.pump is not None) == (version == "0.3")
            try:
                if instance.pump is not None:
                    nursery.start_soon(instance.pump.run)
                yield instance
            finally:
                nursery.cancel_scope.cancel()
        instance.close()


both = pytest.mark.parametrize("version", ["0.2", "0.3"])
hosts = pytest.mark.parametrize("host", [Here, Later])


@both
@hosts
async def test_components_call_each_other_recursively(version: str, host: type[Here]) -> None:
    async with started(version, host()) as instance:
        for n in (0, 1, 3, 20):
            assert await instance.call("down", None, n) == 1000 + n
        assert await instance.call("entered") == 1 + 2 + 4 + 21


@both
@hosts
async def test_the_depth_counts_only_calls_in_progress(version: str, host: type[Here]) -> None:
    async with started(version, host()) as instance:
        for _ in range(100):
            assert await instance.call("twice", None, 2) == 2004


@both
@hosts
@pytest.mark.parametrize("n", [40, 100_000])
async def test_the_depth_is_bounded(version: str, host: type[Here], n: int) -> None:
    async with started(version, host()) as instance:
        assert await instance.call("down", None, 31) == 1031
        with pytest.raises(Trap, match="components call each other more than 64 levels deep"):
            await instance.call("down", None, n)
        with pytest.raises(Trap, match="cannot enter component instance"):
            await instance.call("entered")


@both
@hosts
async def test_a_destructor_is_called_recursively(version: str, host: type[Here]) -> None:
    async with started(version, host()) as instance:
        assert await instance.call("discarding", None, 3) == 7
        assert await instance.call("entered") == 4


@both
async def test_a_call_waits_at_the_end_of_a_recursion(version: str) -> None:
    gate = Gate()
    results = []
    async with started(version, gate) as instance, trio.open_nursery() as nursery:

        async def call() -> None:
            results.append(await instance.call("down", None, 5))

        nursery.start_soon(call)
        await gate.called.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert results == []
        gate.open.set()
    assert results == [1005]


@both
async def test_cancellation_unwinds_a_recursion(version: str) -> None:
    gate = Gate()
    async with started(version, gate) as instance:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(instance.call, "down", None, 5)
            await gate.called.wait()
            nursery.cancel_scope.cancel()
        if version == "0.2":
            with pytest.raises(Trap, match="cannot enter component instance"):
                await instance.call("entered")
        else:  # the guest continues, because it cannot learn of the cancellation
            gate.open.set()
            assert await instance.call("entered") == 6


async def test_the_host_does_not_enter_during_a_call() -> None:
    """Only components of the composition enter again, and only those that are called."""
    gate = Gate()
    async with started("0.2", gate) as instance, trio.open_nursery() as nursery:
        nursery.start_soon(instance.call, "down", None, 2)
        await gate.called.wait()
        with pytest.raises(Trap, match="a call into it is in progress"):
            await instance.call("entered")
        gate.open.set()
