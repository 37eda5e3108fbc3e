"""A guest that polls thousands of pollables: short turns of the event loop, and memory on its account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._account import HANDLE
from wasi_trio.component._errors import Trap
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine, Limits
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._imports import link_wasi
from wasi_trio.wasi.p2._io import InputStream, Pollable
from wasi_trio.wasi.p2._poll import GROUP, SLICE, TASK

#: a guest that polls as many of the host's events as its caller says, and returns the first index
GUEST = """(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "test:events/events" (instance $events
    (alias outer 1 $pollable (type $pollable'))
    (export "pollable" (type $event (eq $pollable')))
    (export "event" (func (result (own $event))))))
  (core module $Memory
    (memory (export "memory") 16)
    (global $heap (mut i32) (i32.const 0x80000))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $heap)
      (global.set $heap (i32.add (global.get $heap) (local.get 3)))))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $event (canon lower (func $events "event")))
  (core func $poll (canon lower (func $poll "poll") (memory $mem) (realloc $realloc)))
  (core module $Main
    (import "host" "event" (func $event (result i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "memory" "memory" (memory 16))
    (func (export "first-of") (param $count i32) (result i32)
      (local $made i32)
      (loop $more
        (i32.store offset=256 (i32.shl (local.get $made) (i32.const 2)) (call $event))
        (local.set $made (i32.add (local.get $made) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $made) (local.get $count))))
      (call $poll (i32.const 256) (local.get $count) (i32.const 0))
      (i32.load (i32.load (i32.const 0)))))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance (export "event" (func $event)) (export "poll" (func $poll))))))
  (func (export "first-of") (param "count" u32) (result u32) (canon lift (core func $main "first-of"))))"""

ENGINE = Engine()
COUNT = 5000


class Events:
    """The interface test:events/events. ``states`` are the events in their order."""

    def __init__(self) -> None:
        self.states: list[trio.Event] = []
        self.waiting = 0

    def event(self) -> Pollable:
        self.states.append(trio.Event())
        return OnEvent(self, self.states[-1])


class OnEvent(Pollable):
    __slots__ = ("_events", "_state")

    def __init__(self, events: Events, state: trio.Event) -> None:
        self._events = events
        self._state = state

    def ready(self) -> bool:
        return self._state.is_set()

    async def block(self) -> None:
        self._events.waiting += 1
        try:
            await self._state.wait()
        finally:
            self._events.waiting -= 1


class OneStream(InputStream):
    """A stream without data, which counts its waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.ended = trio.Event()

    def _take(self, limit: int) -> bytes | None:
        return None if self.ended.is_set() else b""

    def _ready(self) -> bool:
        return self.ended.is_set()

    async def _wait(self) -> None:
        self.waits += 1
        await self.ended.wait()


class Subscriptions:
    """The interface test:events/events with pollables of one stream."""

    def __init__(self) -> None:
        self.stream = OneStream()

    def event(self) -> Pollable:
        return self.stream.subscribe()


class StepCount(trio.abc.Instrument):
    """Counts the turns of the event loop, and the steps of tasks in the longest."""

    def __init__(self) -> None:
        self.turns = 0
        self.maximum = 0
        self._steps = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps += 1

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1
        self.maximum = max(self.maximum, self._steps)
        self._steps = 0


@asynccontextmanager
async def guest(events: Any, limits: Limits | None = None) -> AsyncIterator[Instance]:
    component = Component.compile(ENGINE, bytes(wasmtime.wat2wasm(GUEST)))
    linked = link_wasi(component, Imports({"test:events/events": events}))
    instance = await Instance.instantiate(linked, WasiContext(), limits or Limits())
    try:
        yield instance
    finally:
        await instance.aclose()


@pytest.fixture
def events() -> Events:
    return Events()


async def all_wait(events: Events) -> None:
    while events.waiting < COUNT:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("which", [0, COUNT // 2, COUNT - 1])
async def test_one_of_many_wakes_the_guest(events: Events, which: int) -> None:
    async with guest(events) as instance, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wake() -> None:
            await all_wait(events)
            events.states[which].set()

        assert await instance.call("first-of", None, COUNT) == which
        assert events.waiting == 0


async def test_no_turn_starts_or_ends_many_tasks(events: Events) -> None:
    steps = StepCount()
    trio.lowlevel.add_instrument(steps)
    async with guest(events) as instance, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wake() -> None:
            await all_wait(events)
            events.states[0].set()

        await instance.call("first-of", None, COUNT)
    trio.lowlevel.remove_instrument(steps)
    assert steps.maximum < 3 * GROUP


async def test_no_turn_ends_many_tasks_of_a_cancelled_guest(events: Events) -> None:
    steps = StepCount()
    trio.lowlevel.add_instrument(steps)
    async with guest(events) as instance, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def cancel() -> None:
            await all_wait(events)
            nursery.cancel_scope.cancel()

        await instance.call("first-of", None, COUNT)
    trio.lowlevel.remove_instrument(steps)
    assert events.waiting == 0
    assert steps.maximum < 3 * GROUP


async def test_the_loop_turns_while_the_host_examines_many_pollables() -> None:
    """A group of pollables takes longer than a slice, so a turn of the event loop precedes each further group."""
    groups = 10
    examined: list[int] = []

    class Slow(Pollable):
        def ready(self) -> bool:
            end = perf_counter() + 2 * SLICE / GROUP
            while perf_counter() < end:
                pass
            examined.append(steps.turns)
            return True

        async def block(self) -> None:
            raise AssertionError("it is ready")

    class Source:
        def event(self) -> Pollable:
            return Slow()

    steps = StepCount()
    trio.lowlevel.add_instrument(steps)
    async with guest(Source()) as instance:
        assert await instance.call("first-of", None, groups * GROUP) == 0
    trio.lowlevel.remove_instrument(steps)
    assert len(examined) == groups * GROUP
    assert len(set(examined)) == groups


async def test_the_waiting_tasks_count_in_the_guests_memory(events: Events) -> None:
    async with guest(events) as instance, trio.open_nursery() as nursery:
        before = instance.account.used

        @nursery.start_soon
        async def wake() -> None:
            await all_wait(events)
            assert instance.account.used == before + COUNT * (HANDLE + TASK)
            events.states[0].set()

        await instance.call("first-of", None, COUNT)
        assert instance.account.used == before + COUNT * HANDLE


async def test_a_guest_without_that_memory_traps(events: Events) -> None:
    limit = COUNT * (HANDLE + TASK // 2)
    async with guest(events, Limits(instance_memory=limit)) as instance:
        with trio.fail_after(60), pytest.raises(Trap, match="the instance may hold at most"):
            await instance.call("first-of", None, COUNT)
    assert events.waiting == 0


async def test_pollables_of_one_stream_are_waited_for_once() -> None:
    subscriptions = Subscriptions()
    async with guest(subscriptions) as instance, trio.open_nursery() as nursery:
        before = instance.account.used

        @nursery.start_soon
        async def end() -> None:
            while not subscriptions.stream.waits:
                await trio.lowlevel.checkpoint()
            assert instance.account.used == before + COUNT * HANDLE
            subscriptions.stream.ended.set()

        assert await instance.call("first-of", None, COUNT) == 0
        assert subscriptions.stream.waits == 1


async def test_as_many_as_an_instance_has_handles() -> None:
    limits = Limits()
    subscriptions = Subscriptions()
    subscriptions.stream.ended.set()
    async with guest(subscriptions, limits) as instance:
        assert await instance.call("first-of", None, limits.handles) == 0
