"""Calls into guests: ``canon lift`` in all forms, and task.return."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.concurrency.world import (
    BLOCKED,
    EXIT,
    FUTURE,
    YIELD,
    Gate,
    Guest,
    Host,
    Operation,
    World,
    never,
    wait_on,
)
from wasi_trio.component._errors import Trap
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._types import STRING, U32, Borrow, FuncType, Own, ResourceType

ASYNC = FuncType((), None, is_async=True)
ASYNC_U32 = FuncType((("x", U32),), U32, is_async=True)
SYNC_U32 = FuncType((("x", U32),), U32)
ASYNC_BLOCK = "cannot block a synchronous task before returning"


# ---- functions lifted without async ----------------------------------------------------------------------


@pytest.mark.parametrize("type_", [SYNC_U32, ASYNC_U32])
def test_a_function_lifted_without_async_returns_its_core_result(world: World, type_: FuncType) -> None:
    guest = world.guest()
    call = world.start(guest.lift(lambda guest, x: x + 1, type_), 41)
    assert call.outcome == 42
    assert world.scheduler.threads == []


@pytest.mark.parametrize("is_async", [False, True])
def test_post_return_is_called_with_the_results_and_may_not_call_out(world: World, is_async: bool) -> None:
    guest = world.guest()
    seen = []

    def post_return(guest: Guest, pointer: int) -> None:
        seen.append(pointer)
        with pytest.raises(Trap, match="cannot leave component instance"):
            guest.call("waitable-set.new")

    def core(guest: Guest) -> int:
        text = guest.put(b"hello")
        return guest.put(text.to_bytes(4, "little") + (5).to_bytes(4, "little"))

    function = guest.lift(core, FuncType((), STRING, is_async), post_return=post_return)
    assert world.invoke(function) == "hello"
    assert len(seen) == 1
    assert guest.instance.may_leave


def no_event(guest: Guest, x: int):  # type: ignore[no-untyped-def]
    yield from guest.do("waitable-set.wait", guest.call("waitable-set.new"), 0)


def no_value(guest: Guest, x: int):  # type: ignore[no-untyped-def]
    yield from guest.do("future.read", guest.call("future.new", type_=FUTURE) & 0xFFFF_FFFF, 0, type_=FUTURE)


def no_result(guest: Guest, x: int):  # type: ignore[no-untyped-def]
    yield from guest.imported(guest.lower(Host(lambda: Operation().started), ASYNC))


def no_end(guest: Guest, x: int):  # type: ignore[no-untyped-def]
    lowering = guest.lower(Host(lambda: Operation().started), ASYNC, is_async=True)
    yield from guest.do("subtask.cancel", lowering(guest.instance, []) >> 4)


@pytest.mark.parametrize("core", [no_event, no_value, no_result, no_end])
def test_a_synchronous_function_traps_if_it_waits(world: World, core: Any) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match=ASYNC_BLOCK):
        world.invoke(guest.lift(core, SYNC_U32), 0)


def test_a_synchronous_function_does_not_trap_if_nothing_waits(world: World) -> None:
    guest = world.guest()

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        wset = guest.call("waitable-set.new")
        ends = guest.call("future.new", type_=FUTURE)
        readable, writable = ends & 0xFFFF_FFFF, ends >> 32
        assert guest.call("future.write", writable, 0, type_=FUTURE, is_async=True) == BLOCKED
        assert guest.call("future.cancel-write", writable, type_=FUTURE) == 2
        assert guest.call("future.read", readable, 0, type_=FUTURE, is_async=True) == BLOCKED
        assert guest.call("future.write", writable, 0, type_=FUTURE) == 0
        guest.call("waitable.join", readable, wset)
        assert guest.call("waitable-set.wait", wset, 0) == 4
        assert guest.lower(Host(lambda: None), ASYNC)(guest.instance, []) is None
        assert (yield from guest.do("thread.yield")) == 0
        return x

    assert world.invoke(guest.lift(core, SYNC_U32), 7) == 7


def test_another_task_of_the_instance_can_end_the_wait_of_a_synchronous_function(world: World) -> None:
    guest, caller = world.guest(), world.guest()
    gates = [Gate(guest), Gate(guest)]

    def callback(guest: Guest, *event: int) -> int:
        gates[1].open()
        guest.call("task.return", is_async=True)
        return EXIT

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        gates[0].open()
        yield from guest.do("waitable-set.wait", gates[1].set, 0)
        return x + 1

    def calls(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        return (yield from guest.imported(lowering, x))

    other = world.start(guest.lift(lambda g: wait_on(gates[0].set), ASYNC, is_async=True, callback=callback))
    lowering = caller.lower(world.callee(guest.lift(core, SYNC_U32)), SYNC_U32)
    assert world.invoke(caller.lift(calls, SYNC_U32), 7) == 8
    assert other.resolved


def test_an_async_function_lifted_without_async_may_wait(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        event = yield from guest.do("waitable-set.wait", gate.set, 0)
        assert (event, guest.word(0)) == (4, gate.readable)
        return x + 1

    call = world.start(guest.lift(core, ASYNC_U32), 41)
    assert not call.resolved
    gate.open()
    assert world.scheduler.finish(call) == 42


# ---- functions lifted with a callback --------------------------------------------------------------------


def test_a_callback_is_called_with_events_until_it_exits(world: World) -> None:
    guest = world.guest()
    gates = [Gate(guest), Gate(guest)]
    seen = []

    def core(guest: Guest, x: int) -> int:
        guest.call("context.set", x)
        return wait_on(gates[0].set)

    def callback(guest: Guest, *event: int) -> int:
        seen.append(event)
        if len(seen) == 1:
            return YIELD
        if len(seen) == 2:
            return wait_on(gates[1].set)
        guest.call("task.return", guest.call("context.get") + 1, type_=U32, is_async=True)
        return EXIT

    call = world.start(guest.lift(core, ASYNC_U32, is_async=True, callback=callback), 41)
    assert not call.resolved
    gates[0].open()
    world.scheduler.run()
    assert seen == [(4, gates[0].readable, 0), (0, 0, 0)]
    gates[1].open()
    assert world.scheduler.finish(call) == 42
    assert seen[2:] == [(4, gates[1].readable, 0)]
    assert guest.instance.exclusive is None


def test_work_continues_after_the_result_is_returned(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    done = []

    def core(guest: Guest) -> int:
        guest.call("task.return", is_async=True)
        return wait_on(gate.set)

    def callback(guest: Guest, *event: int) -> int:
        done.append(event)
        return EXIT

    call = world.start(guest.lift(core, ASYNC, is_async=True, callback=callback))
    assert call.resolved and len(world.scheduler.threads) == 1
    gate.open()
    world.scheduler.run()
    assert len(done) == 1 and world.scheduler.threads == []


def test_a_pending_event_is_taken_without_waiting(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    gate.open()

    def callback(guest: Guest, *event: int) -> int:
        guest.call("task.return", is_async=True)
        return EXIT

    assert world.start(guest.lift(lambda g: wait_on(gate.set), ASYNC, is_async=True, callback=callback)).resolved


def test_a_task_that_ends_without_a_result_traps(world: World) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match="async-lifted export failed to produce a result"):
        world.invoke(guest.lift(lambda guest: EXIT, ASYNC, is_async=True, callback=never))


@pytest.mark.parametrize("code", [3, 4, 15, 0xFF])
def test_other_callback_codes_trap(world: World, code: int) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match="unsupported callback code"):
        world.invoke(guest.lift(lambda guest: code, ASYNC, is_async=True, callback=never))


def test_waiting_on_another_handle_than_a_waitable_set_traps(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    for index, message in [(gate.readable, "not a waitable set"), (99, "unknown handle index 99")]:
        guest.instance.exclusive = None
        with pytest.raises(Trap, match=message):
            world.invoke(guest.lift(lambda g, i=index: wait_on(i), ASYNC, is_async=True, callback=never))


def test_many_tasks_may_wait_for_one_set_and_each_event_is_for_one_of_them(world: World) -> None:
    guest = world.guest()
    gates = [Gate(guest) for _ in range(3)]
    for gate in gates:
        guest.call("waitable.join", gate.readable, gates[0].set)

    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        guest.call("task.return", index, type_=U32, is_async=True)
        return EXIT

    function = guest.lift(lambda g, x: wait_on(gates[0].set), ASYNC_U32, is_async=True, callback=callback)
    calls = [world.start(function, 0) for _ in range(3)]
    for gate in (gates[1], gates[2]):
        gate.open()
    world.scheduler.run()
    assert [call.outcome for call in calls] == [gates[1].readable, gates[2].readable, None]


# ---- task.return -----------------------------------------------------------------------------------------


def test_task_return_twice_traps(world: World) -> None:
    guest = world.guest()

    def core(guest: Guest) -> int:
        guest.call("task.return", is_async=True)
        guest.call("task.return", is_async=True)
        return EXIT

    with pytest.raises(Trap, match=r"`task.return` or `task.cancel` called more than once"):
        world.invoke(guest.lift(core, ASYNC, is_async=True, callback=never))


def test_task_return_must_fit_the_task(world: World) -> None:

    guest = world.guest()
    invalid = r"invalid `task.return` signature and/or options for current task"

    def core(guest: Guest, x: int) -> int:
        with pytest.raises(Trap, match=invalid):
            guest.call("task.return", 1, type_=STRING, is_async=True)
        with pytest.raises(Trap, match=invalid):
            guest.call("task.return", is_async=True)
        with pytest.raises(Trap, match=invalid):
            guest.call("task.return", 1, type_=U32, encoding=StringEncoding.UTF16)
        guest.call("task.return", 5, type_=U32)  # the differences in its options do not matter
        return EXIT

    assert world.invoke(guest.lift(core, ASYNC_U32, is_async=True, callback=never), 0) == 5


@pytest.mark.parametrize("type_", [SYNC_U32, ASYNC_U32])
def test_task_return_is_not_for_functions_lifted_without_async(world: World, type_: FuncType) -> None:
    guest = world.guest()

    def core(guest: Guest, x: int) -> int:
        for name in ("task.return", "task.cancel"):
            with pytest.raises(Trap, match=r"invalid `task.return`"):
                guest.call(name)
        return 1

    assert world.invoke(guest.lift(core, type_), 0) == 1


def test_borrowed_handles_must_be_dropped_before_the_result(world: World) -> None:
    guest = world.guest()
    resource = ResourceType("thing")
    type_ = FuncType((("x", Borrow(resource)), ("y", Own(resource))), None, is_async=True)
    message = "borrow handles still remain at the end of the call"

    def core(guest: Guest, borrowed: int, owned: int) -> int:
        with pytest.raises(Trap, match=message):
            guest.call("task.return", is_async=True)
        guest.handles.remove(borrowed).scope.borrows -= 1
        guest.call("task.return", is_async=True)
        return EXIT

    assert world.start(guest.lift(core, type_, is_async=True, callback=never), object(), object()).resolved
    with pytest.raises(Trap, match=message):
        world.start(guest.lift(lambda guest, borrowed, owned: None, type_), object(), object())


# ---- context ---------------------------------------------------------------------------------------------


def test_every_task_has_context_slots_of_its_own(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    guest.call("context.set", 99, slot=1)

    def core(guest: Guest, x: int) -> int:
        assert [guest.call("context.get", slot=slot) for slot in (0, 1)] == [0, 0]
        guest.call("context.set", x, slot=1)
        return wait_on(gate.set)

    def callback(guest: Guest, *event: int) -> int:
        guest.call("task.return", guest.call("context.get", slot=1), type_=U32, is_async=True)
        return EXIT

    function = guest.lift(core, ASYNC_U32, is_async=True, callback=callback)
    gates = [gate]
    first = world.start(function, 7)
    gate = Gate(guest)
    second = world.start(function, 8)
    gate.open()
    gates[0].open()
    world.scheduler.run()
    assert (first.outcome, second.outcome) == (7, 8)
    assert guest.call("context.get", slot=1) == 99
