"""Entry into an instance and its order: exclusive entry and backpressure."""

from __future__ import annotations

import pytest

from tests.component.concurrency.world import (
    EXIT,
    YIELD,
    Gate,
    Guest,
    World,
    blocker,
    wait_on,
)
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import U32, FuncType
from wasi_trio.component.concurrency import CANCELLED

ASYNC = FuncType((), None, is_async=True)
ASYNC_U32 = FuncType((("x", U32),), U32, is_async=True)
SYNC_U32 = FuncType((("x", U32),), U32)


# ---- one at a time ---------------------------------------------------------------------------------------


def test_calls_wait_for_exclusive_entry_in_order(world: World) -> None:
    guest = world.guest()
    log: list[str] = []
    gates = [Gate(guest) for _ in range(3)]
    calls = [world.start(guest.lift(blocker(guest, gates[i], log, str(i)), ASYNC)) for i in range(3)]
    assert log == ["0 starts"]
    assert guest.instance.busy
    for gate in reversed(gates):
        gate.open()
    world.scheduler.run()
    assert log == ["0 starts", "0 ends", "1 starts", "1 ends", "2 starts", "2 ends"]
    assert all(call.resolved for call in calls) and not guest.instance.busy


def test_a_task_that_waits_outside_core_code_admits_others(world: World) -> None:
    guest = world.guest()
    log: list[int] = []
    gates = [Gate(guest) for _ in range(3)]

    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        log.append(index)
        guest.call("task.return", index, type_=U32, is_async=True)
        return EXIT

    function = guest.lift(lambda g, x: wait_on(gates[x].set), ASYNC_U32, is_async=True, callback=callback)
    calls = [world.start(function, i) for i in range(3)]
    assert not guest.instance.busy
    for i in (2, 0, 1):
        gates[i].open()
    world.scheduler.run()
    assert log == [gates[i].readable for i in (2, 0, 1)]
    assert [call.outcome for call in calls] == [gate.readable for gate in gates]


def test_an_event_waits_while_another_task_has_exclusive_entry(world: World) -> None:
    guest = world.guest()
    log: list[str] = []
    gates = [Gate(guest), Gate(guest)]

    def callback(guest: Guest, *event: int) -> int:
        log.append("callback")
        guest.call("task.return", is_async=True)
        return EXIT

    waiting = world.start(guest.lift(lambda g: wait_on(gates[0].set), ASYNC, is_async=True, callback=callback))
    world.start(guest.lift(blocker(guest, gates[1], log, "blocker"), ASYNC))
    gates[0].open()
    world.scheduler.run()
    assert log == ["blocker starts"] and not waiting.resolved
    gates[1].open()
    world.scheduler.run()
    assert log == ["blocker starts", "blocker ends", "callback"] and waiting.resolved


def test_a_synchronous_call_enters_at_once(world: World) -> None:
    guest = world.guest()
    log: list[str] = []
    gate = Gate(guest)
    blocked = world.start(guest.lift(blocker(guest, gate, log, "blocker"), ASYNC))

    def barge(guest: Guest, x: int) -> int:
        gate.open()
        return x

    assert world.start(guest.lift(barge, SYNC_U32), 7).outcome == 7
    assert log == ["blocker starts"] and not blocked.resolved
    world.scheduler.run()
    assert log == ["blocker starts", "blocker ends"]


def test_an_event_taken_by_a_synchronous_call_does_not_block_other_tasks(world: World) -> None:
    guest = world.guest()
    gates = [Gate(guest), Gate(guest)]
    done = []

    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        done.append(index)
        guest.call("task.return", is_async=True)
        return EXIT

    for gate in gates:
        world.start(guest.lift(lambda g, i=gate.set: wait_on(i), ASYNC, is_async=True, callback=callback))

    def thief(guest: Guest, x: int) -> int:
        gates[0].open()
        gates[1].open()
        return int(guest.call("waitable-set.poll", gates[0].set, 0))

    assert world.invoke(guest.lift(thief, SYNC_U32), 0) == 4
    assert done == [gates[1].readable]


def test_a_yielding_task_runs_after_waiting_ones(world: World) -> None:
    guest = world.guest()
    log: list[str] = []

    def make(name: str):  # type: ignore[no-untyped-def]
        def core(guest: Guest) -> int:
            log.append(name)
            return YIELD

        def callback(guest: Guest, *event: int) -> int:
            assert event == (0, 0, 0)
            log.append(name)
            if log.count(name) < 3:
                return YIELD
            guest.call("task.return", is_async=True)
            return EXIT

        return guest.lift(core, ASYNC, is_async=True, callback=callback)

    calls = [world.start(make(name)) for name in "abc"]
    world.scheduler.run()
    assert "".join(log) == "abcabcabc"
    assert all(call.resolved for call in calls)


def test_nothing_enters_while_a_synchronous_call_waits(world: World) -> None:
    """Another task of the instance continues meanwhile, because it had entered before."""
    guest = world.guest()
    log: list[str] = []
    gates = [Gate(guest), Gate(guest)]

    def callback(guest: Guest, *event: int) -> int:
        log.append("callback")
        gates[1].open()
        guest.call("task.return", is_async=True)
        return EXIT

    def waits(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        gates[0].open()
        yield from guest.do("waitable-set.wait", gates[1].set, 0)
        log.append("waited")
        return x

    def enters(guest: Guest, x: int) -> int:
        log.append("entered")
        return x

    beside = world.start(guest.lift(lambda g: wait_on(gates[0].set), ASYNC, is_async=True, callback=callback))
    guest.call("backpressure.inc")
    later = world.start(guest.lift(enters, ASYNC_U32), 3)
    guest.instance.backpressure = 0  # nothing wakes the call yet
    first = world.start(guest.lift(waits, SYNC_U32), 1)
    assert log == [] and not first.resolved
    guest.instance.hand_over()
    world.scheduler.run()
    assert log == ["callback", "waited", "entered"]
    assert beside.resolved and (first.outcome, later.outcome) == (1, 3)


# ---- backpressure ----------------------------------------------------------------------------------------


def test_backpressure_holds_calls_back_until_it_ends(world: World) -> None:
    guest = world.guest()
    log: list[int] = []

    def core(guest: Guest, x: int) -> int:
        log.append(x)
        return x

    function = guest.lift(core, ASYNC_U32)
    guest.call("backpressure.inc")
    guest.call("backpressure.inc")
    calls = [world.start(function, i) for i in range(3)]
    assert world.start(guest.lift(core, SYNC_U32), 9).outcome == 9
    guest.call("backpressure.dec")
    world.scheduler.run()
    assert log == [9]
    guest.call("backpressure.dec")
    world.scheduler.run()
    assert log == [9, 0, 1, 2] and [call.outcome for call in calls] == [0, 1, 2]


def test_the_backpressure_counter_is_bounded(world: World) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match="backpressure counter underflow"):
        guest.call("backpressure.dec")
    guest.instance.backpressure = 2**16 - 2
    guest.call("backpressure.inc")
    with pytest.raises(Trap, match="backpressure counter overflow"):
        guest.call("backpressure.inc")


# ---- functions with their own stack --------------------------------------------------------------------


def stackful(world: World, guest: Guest, gate: Gate):  # type: ignore[no-untyped-def]
    def core(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", gate.set, 0)
        guest.call("task.return", is_async=True)

    return guest.lift(core, ASYNC, is_async=True)


def test_calls_with_a_stack_of_their_own_run_beside_others(world: World) -> None:
    guest = world.guest()
    log: list[str] = []
    gates = [Gate(guest) for _ in range(4)]
    blocked = world.start(guest.lift(blocker(guest, gates[0], log, "blocker"), ASYNC))
    queued = world.start(guest.lift(blocker(guest, gates[1], log, "queued"), ASYNC))
    beside = [world.start(stackful(world, guest, gate)) for gate in gates[2:]]
    gates[2].open()
    world.scheduler.run()
    assert beside[0].resolved and not blocked.resolved and not queued.resolved
    beside[1].task.request_cancellation()
    assert not beside[1].resolved, "only a callback learns of cancellation"
    gates[3].open()
    world.scheduler.run()
    assert beside[1].resolved
    assert log == ["blocker starts"]


def test_backpressure_holds_stackful_calls_back(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    gate.open()
    guest.call("backpressure.inc")
    calls = [world.start(stackful(world, guest, gate)) for _ in range(2)]
    calls[1].task.request_cancellation()
    assert calls[1].outcome is CANCELLED
    world.scheduler.run()
    assert not calls[0].resolved
    guest.call("backpressure.dec")
    assert world.scheduler.finish(calls[0]) is None


def test_stackful_calls_must_resolve(world: World) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match="async-lifted export failed to produce a result"):
        world.invoke(guest.lift(lambda guest: None, ASYNC, is_async=True))
