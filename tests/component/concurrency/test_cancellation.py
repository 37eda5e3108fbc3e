"""Cancellation of calls, and its delivery to guests."""

from __future__ import annotations

import pytest

from tests.component.concurrency.world import (
    EXIT,
    YIELD,
    Gate,
    Guest,
    World,
    blocker,
    never,
    wait_on,
)
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import U32, FuncType
from wasi_trio.component.concurrency import CANCELLED, TaskState

ASYNC = FuncType((), None, is_async=True)
ASYNC_U32 = FuncType((("x", U32),), U32, is_async=True)
SYNC_U32 = FuncType((("x", U32),), U32)


def test_a_call_held_back_is_cancelled_before_it_starts(world: World) -> None:
    guest = world.guest()
    log: list[int] = []

    def core(guest: Guest, x: int) -> int:
        log.append(x)
        return x

    function = guest.lift(core, ASYNC_U32)
    guest.call("backpressure.inc")
    calls = [world.start(function, i) for i in range(3)]
    calls[0].task.request_cancellation()
    assert calls[0].outcome is CANCELLED
    guest.call("backpressure.dec")
    world.scheduler.run()
    assert log == [1, 2]
    calls[1].task.request_cancellation()
    assert calls[1].outcome == 1


def cancellable(gate: Gate, log: list[int]):  # type: ignore[no-untyped-def]
    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        log.append(code)
        guest.call("task.cancel" if code == 6 else "task.return", is_async=True)
        return EXIT

    return gate.guest.lift(lambda g: wait_on(gate.set), ASYNC, is_async=True, callback=callback)


def test_a_waiting_task_learns_of_cancellation_at_once(world: World) -> None:
    guest = world.guest()
    log: list[int] = []
    call = world.start(cancellable(Gate(guest), log))
    call.task.request_cancellation()
    assert log == [6] and call.outcome is CANCELLED
    assert call.task.state is TaskState.RESOLVED and guest.instance.exclusive is None
    assert world.scheduler.threads == []


def test_a_cancelled_task_may_still_return(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)

    def callback(guest: Guest, *event: int) -> int:
        guest.call("task.return", is_async=True)
        return EXIT

    call = world.start(guest.lift(lambda g: wait_on(gate.set), ASYNC, is_async=True, callback=callback))
    call.task.request_cancellation()
    assert call.outcome is None


def test_cancellation_is_requested_and_delivered_once(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    log: list[int] = []

    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        log.append(code)
        if code == 6:
            return wait_on(gate.set)
        guest.call("task.return", is_async=True)
        return EXIT

    call = world.start(guest.lift(lambda g: wait_on(gate.set), ASYNC, is_async=True, callback=callback))
    call.task.request_cancellation()
    call.task.request_cancellation()
    gate.open()
    world.scheduler.run()
    assert log == [6, 4] and call.resolved


@pytest.mark.parametrize("code", [YIELD, "wait"])
def test_a_pending_cancellation_is_delivered_at_the_next_wait(world: World, code: object) -> None:
    guest = world.guest()
    first, second = Gate(guest), Gate(guest)
    log: list[int] = []

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", first.set, 0)
        return YIELD if code == YIELD else wait_on(second.set)

    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        log.append(code)
        guest.call("task.cancel", is_async=True)
        return EXIT

    call = world.start(guest.lift(core, ASYNC, is_async=True, callback=callback))
    call.task.request_cancellation()
    assert call.task.state is TaskState.PENDING_CANCEL
    first.open()
    world.scheduler.run()
    assert log == [6] and call.outcome is CANCELLED


def test_no_callback_is_called_to_cancel_while_another_task_has_exclusive_entry(world: World) -> None:
    guest = world.guest()
    log: list[int] = []
    names: list[str] = []
    gates = [Gate(guest), Gate(guest)]
    call = world.start(cancellable(gates[0], log))
    world.start(guest.lift(blocker(guest, gates[1], names, "blocker"), ASYNC))
    call.task.request_cancellation()
    assert log == [] and call.task.state is TaskState.PENDING_CANCEL
    gates[0].open()
    gates[1].open()
    world.scheduler.run()
    assert log == [6] and call.outcome is CANCELLED


def test_a_cancelled_task_continues_when_another_gives_up_exclusive_entry(world: World) -> None:
    """It needs no event of its set."""
    guest = world.guest()
    log: list[int] = []
    gate = Gate(guest)
    call = world.start(cancellable(Gate(guest), log))
    world.start(guest.lift(blocker(guest, gate, [], "blocker"), ASYNC))
    call.task.request_cancellation()
    assert log == []
    gate.open()
    world.scheduler.run()
    assert log == [6] and call.outcome is CANCELLED


def test_a_task_learns_of_cancellation_while_its_instance_runs_a_synchronous_call(world: World) -> None:
    guest = world.guest()
    log: list[int] = []
    call = world.start(cancellable(Gate(guest), log))

    def core(guest: Guest, x: int) -> int:
        call.task.request_cancellation()
        assert log == [6] and call.outcome is CANCELLED
        return x

    assert world.invoke(guest.lift(core, SYNC_U32), 7) == 7


@pytest.mark.parametrize("name", ["waitable-set.wait", "waitable-set.poll", "thread.yield"])
def test_built_ins_do_not_deliver_cancellation(world: World, name: str) -> None:
    guest = world.guest()
    first, second = Gate(guest), Gate(guest)
    seen = []

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", first.set, 0)
        second.open()
        seen.append((yield from guest.do(name, *(() if name == "thread.yield" else (second.set, 0)))))
        with pytest.raises(Trap, match=r"`task.cancel` called by task which has not been cancelled"):
            guest.call("task.cancel", is_async=True)
        guest.call("task.return", is_async=True)
        return EXIT

    call = world.start(guest.lift(core, ASYNC, is_async=True, callback=never))
    call.task.request_cancellation()
    first.open()
    world.scheduler.run()
    assert seen == [0 if name == "thread.yield" else 4] and call.resolved


def test_task_cancel_without_cancellation_traps(world: World) -> None:
    guest = world.guest()

    def core(guest: Guest) -> int:
        with pytest.raises(Trap, match=r"`task.cancel` called by task which has not been cancelled"):
            guest.call("task.cancel", is_async=True)
        guest.call("task.return", is_async=True)
        with pytest.raises(Trap, match="more than once"):
            guest.call("task.cancel", is_async=True)
        return EXIT

    assert world.start(guest.lift(core, ASYNC, is_async=True, callback=never)).resolved
