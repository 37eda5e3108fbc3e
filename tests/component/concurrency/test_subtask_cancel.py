"""subtask.cancel and subtask.drop."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.concurrency.callees import (
    ASYNC,
    ASYNC_U32,
    RETURNED,
    STARTED,
    STARTING,
    Blocking,
    poll,
    run,
    unpack,
)
from tests.component.concurrency.world import (
    BLOCKED,
    EXIT,
    Guest,
    Host,
    Operation,
    World,
    never,
    wait,
)
from wasi_trio.component._account import CALL, OverBudget
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import U32, FuncType, List, Stream
from wasi_trio.component.concurrency import CANCELLED, SubtaskState


@pytest.mark.parametrize("is_async", [False, True])
def test_cancelling_a_callee_that_ends_at_once(world: World, is_async: bool) -> None:
    callee, caller = Blocking(world), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_U32, is_async=True)

    def core(guest: Guest) -> None:
        _, index = unpack(lowering(guest.instance, [7, 64]))
        assert guest.call("subtask.cancel", index, is_async=is_async) == SubtaskState.CANCELLED_BEFORE_RETURNED
        with pytest.raises(Trap, match=r"`subtask.cancel` called after terminal status delivered"):
            guest.call("subtask.cancel", index, is_async=True)
        guest.call("subtask.drop", index)

    assert run(world, caller, core).resolved
    assert callee.log == [(7,), 6] and len(caller.handles) == 0


def test_cancelling_a_callee_that_has_not_started(world: World) -> None:
    callee, caller = Blocking(world), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_U32, is_async=True)
    callee.guest.call("backpressure.inc")

    def core(guest: Guest) -> None:
        state, index = unpack(lowering(guest.instance, [7, 64]))
        assert state == STARTING
        assert guest.call("subtask.cancel", index, is_async=True) == SubtaskState.CANCELLED_BEFORE_STARTED
        guest.call("subtask.drop", index)

    assert run(world, caller, core).resolved
    assert callee.log == [] and world.scheduler.threads == []


def test_cancelling_a_callee_that_has_returned_takes_its_event(world: World) -> None:
    callee, caller = Blocking(world), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_U32, is_async=True)

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        _, index = unpack(lowering(guest.instance, [7, 64]))
        wset = guest.call("waitable-set.new")
        callee.unblock()
        yield from guest.do("thread.yield")
        assert guest.call("subtask.cancel", index, is_async=True) == RETURNED
        assert guest.word(64) == 42
        guest.call("waitable.join", index, wset)
        assert poll(guest, wset) == (0, 0, 0)

    call = run(world, caller, core)
    world.scheduler.run()
    assert call.resolved


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("returned", [False, True])
def test_a_call_in_a_waitable_set_is_not_cancelled(world: World, is_async: bool, returned: bool) -> None:
    caller = world.guest()
    operation = Operation()
    lowering = caller.lower(Host(lambda x: operation.started), ASYNC_U32, is_async=True)

    def core(guest: Guest) -> int:
        _, index = unpack(lowering(guest.instance, [1, 64]))
        wset = guest.call("waitable-set.new")
        guest.call("waitable.join", index, wset)
        if returned:
            operation.resolve(5)
        with pytest.raises(Trap, match="waitable cannot be used synchronously while added to a waitable set"):
            guest.call("subtask.cancel", index, is_async=is_async)
        return EXIT

    with pytest.raises(Trap, match="failed to produce a result"):
        world.invoke(caller.lift(core, ASYNC, is_async=True, callback=never))
    assert operation.cancels == 0


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("outcome", [CANCELLED, 5])
def test_cancelling_a_host_operation(world: World, is_async: bool, outcome: Any) -> None:
    caller = world.guest()
    operation = Operation()
    lowering = caller.lower(Host(lambda x: operation.started), ASYNC_U32, is_async=True)
    expected = SubtaskState.CANCELLED_BEFORE_RETURNED if outcome is CANCELLED else RETURNED

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        wset = guest.call("waitable-set.new")
        _, index = unpack(lowering(guest.instance, [1, 64]))
        code = yield from guest.do("subtask.cancel", index, is_async=is_async)
        if is_async:
            assert code == BLOCKED
            with pytest.raises(Trap, match="called after terminal"):
                guest.call("subtask.cancel", index, is_async=True)
            guest.call("waitable.join", index, wset)
            yield from guest.do("waitable-set.wait", wset, 0)
            code = guest.word(4)
        assert code == expected
        assert guest.word(64) == (0 if outcome is CANCELLED else 5)
        guest.call("subtask.drop", index)

    call = run(world, caller, core)
    assert operation.cancels == 1 and not call.resolved
    operation.resolve(outcome)
    world.scheduler.run()
    assert call.resolved


def test_a_synchronous_cancel_does_not_mistake_the_start_for_the_end(world: World) -> None:
    callee, caller = Blocking(world), world.guest()
    stubborn = world.guest()
    gate = stubborn.call("waitable-set.new")

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", gate, 0)
        return x

    lowering = caller.lower(world.callee(stubborn.lift(core, ASYNC_U32)), ASYNC_U32, is_async=True)
    stubborn.call("backpressure.inc")
    del callee

    def run_(guest: Guest):  # type: ignore[no-untyped-def]
        _, index = unpack(lowering(guest.instance, [7, 64]))
        stubborn.call("backpressure.dec")
        yield from guest.do("thread.yield")
        code = yield from guest.do("subtask.cancel", index)
        assert code == RETURNED

    call = run(world, caller, run_)
    world.scheduler.run()
    assert not call.resolved
    ends = stubborn.call("stream.new", type_=Stream(None))
    stubborn.call("stream.read", ends & 0xFFFF_FFFF, 0, 1, type_=Stream(None), is_async=True)
    stubborn.call("waitable.join", ends & 0xFFFF_FFFF, gate)
    stubborn.call("stream.drop-writable", ends >> 32, type_=Stream(None))
    world.scheduler.run()
    assert call.resolved


def test_subtasks_are_not_dropped_before_their_end_is_delivered(world: World) -> None:
    caller = world.guest()
    operation = Operation()
    lowering = caller.lower(Host(lambda x: operation.started), ASYNC_U32, is_async=True)
    _, index = unpack(world.inside(caller, lambda: lowering(caller.instance, [1, 64])))
    message = "cannot drop a subtask which has not yet resolved"
    with pytest.raises(Trap, match=message):
        caller.call("subtask.drop", index)
    operation.resolve(3)
    with pytest.raises(Trap, match=message):
        caller.call("subtask.drop", index)
    wset = caller.call("waitable-set.new")
    caller.call("waitable.join", index, wset)
    assert poll(caller, wset) == (1, index, RETURNED)
    caller.call("subtask.drop", index)
    caller.call("waitable-set.drop", wset)
    assert len(caller.handles) == 0


def test_a_subtask_in_a_set_is_not_cancelled_synchronously(world: World) -> None:
    caller = world.guest()
    lowering = caller.lower(Host(lambda x: Operation().started), ASYNC_U32, is_async=True)

    def core() -> None:
        _, index = unpack(lowering(caller.instance, [1, 64]))
        caller.call("waitable.join", index, caller.call("waitable-set.new"))
        with pytest.raises(Trap, match="waitable cannot be used synchronously while added to a waitable set"):
            caller.call("subtask.cancel", index)

    world.inside(caller, core)


def test_list_results_are_weighed_too(world: World) -> None:
    caller = world.guest()
    operation = Operation()
    type_ = FuncType((), List(U32), is_async=True)
    lowering = caller.lower(Host(lambda: operation.started), type_, is_async=True)
    assert unpack(lowering(caller.instance, [64]))[0] == STARTED
    caller.handles.account.limit = caller.handles.account.used - CALL + 1000
    with pytest.raises(OverBudget):
        operation.resolve([1] * 100)


def test_wait_gives_plain_results_through() -> None:
    with pytest.raises(StopIteration, match="5"):
        next(wait(5))


def test_a_ready_task_runs_before_a_call_is_held_back(world: World) -> None:
    callee, caller = world.guest(), world.guest()
    gate = callee.call("waitable-set.new")
    log: list[str] = []

    def holder(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", gate, 0)
        log.append("holder")

    held = world.start(callee.lift(holder, ASYNC))
    lowering = caller.lower(world.callee(callee.lift(lambda guest: log.append("called"), ASYNC)), ASYNC, is_async=True)

    def core(guest: Guest) -> None:
        assert unpack(lowering(guest.instance, []))[0] == STARTING
        ends = callee.call("stream.new", type_=Stream(None))
        callee.call("stream.read", ends & 0xFFFF_FFFF, 0, 1, type_=Stream(None), is_async=True)
        callee.call("waitable.join", ends & 0xFFFF_FFFF, gate)
        callee.call("stream.drop-writable", ends >> 32, type_=Stream(None))
        assert log == []
        lowering(guest.instance, [])
        assert log == ["holder"]

    run(world, caller, core)
    world.scheduler.run()
    assert held.resolved and log == ["holder", "called", "called"]
