"""Calls into guests: ``canon lift`` in its forms, backpressure, exclusive entry and cancellation."""

from __future__ import annotations

import pytest

from tests.component.concurrency.world import EXIT, YIELD, Guest, Host, Operation, World, wait_on
from wasi_trio.component.concurrency import CANCELLED, TaskState
from wasi_trio.component.errors import Trap
from wasi_trio.component.types import STRING, U32, Borrow, FuncType, Future, Own, ResourceType

ASYNC = FuncType((), None, is_async=True)
ASYNC_U32 = FuncType((("x", U32),), U32, is_async=True)
SYNC_U32 = FuncType((("x", U32),), U32)
FUTURE = Future(None)

ASYNC_BLOCK = "cannot block a synchronous task before returning"


def never(guest: Guest, *event: int) -> int:
    raise AssertionError("this callback is not to be called")


# ---- functions lifted without async ----------------------------------------------------------------------


@pytest.mark.parametrize("type_", [SYNC_U32, ASYNC_U32])
def test_a_function_lifted_without_async_returns_what_its_core_function_does(world: World, type_: FuncType) -> None:
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
    assert guest.may_leave


def test_a_synchronous_function_may_not_wait(world: World) -> None:
    guest = world.guest()
    future = FUTURE

    def core(guest: Guest, x: int) -> int:
        joined = guest.call("waitable-set.new")
        ends = guest.call("future.new", type_=future)
        for name, args, definition in [
            ("waitable-set.wait", (joined, 0), {}),
            ("future.read", (ends & 0xFFFF_FFFF, 0), {"type_": future}),
            ("future.write", (ends >> 32, 0), {"type_": future}),
            ("future.cancel-read", (ends & 0xFFFF_FFFF,), {"type_": future}),
            ("subtask.cancel", (77,), {}),
        ]:
            with pytest.raises(Trap, match=ASYNC_BLOCK):
                guest.call(name, *args, **definition)
        with pytest.raises(Trap, match=ASYNC_BLOCK):
            guest.lower(None, ASYNC)(guest, [])
        return int(guest.call("thread.yield") + guest.call("waitable-set.poll", joined, 0))

    assert world.invoke(guest.lift(core, SYNC_U32), 0) == 0


def test_nothing_waits_while_a_core_module_is_instantiated(world: World) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match=ASYNC_BLOCK):
        guest.call("waitable-set.wait", guest.call("waitable-set.new"), 0)


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


class Gate:
    """A waitable set in which an event can be made to appear: a future that is read."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.set = guest.call("waitable-set.new")
        ends = guest.call("future.new", type_=FUTURE)
        self.readable, self.writable = ends & 0xFFFF_FFFF, ends >> 32
        guest.call("future.read", self.readable, 0, type_=FUTURE, is_async=True)
        guest.call("waitable.join", self.readable, self.set)

    def open(self) -> None:
        self.guest.call("future.write", self.writable, 0, type_=FUTURE, is_async=True)


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
    assert guest.exclusive is None


def test_work_goes_on_after_the_result_is_returned(world: World) -> None:
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


def test_waiting_on_what_is_no_waitable_set_traps(world: World) -> None:
    guest = world.guest()
    gate = Gate(guest)
    for index, message in [(gate.readable, "not a waitable set"), (99, "unknown handle index 99")]:
        guest.exclusive = None
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


# ---- one at a time ---------------------------------------------------------------------------------------


def blocker(guest: Guest, gate: Gate, log: list[str], name: str):  # type: ignore[no-untyped-def]
    """A core function that keeps exclusive entry while it waits."""

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        log.append(f"{name} starts")
        yield from guest.do("waitable-set.wait", gate.set, 0)
        log.append(f"{name} ends")

    return core


def test_calls_wait_for_exclusive_entry_in_order(world: World) -> None:
    guest = world.guest()
    log: list[str] = []
    gates = [Gate(guest) for _ in range(3)]
    calls = [world.start(guest.lift(blocker(guest, gates[i], log, str(i)), ASYNC)) for i in range(3)]
    assert log == ["0 starts"]
    assert guest.busy
    for gate in reversed(gates):
        gate.open()
    world.scheduler.run()
    assert log == ["0 starts", "0 ends", "1 starts", "1 ends", "2 starts", "2 ends"]
    assert all(call.resolved for call in calls) and not guest.busy


def test_a_task_that_waits_outside_of_core_code_lets_others_in(world: World) -> None:
    guest = world.guest()
    log: list[int] = []
    gates = [Gate(guest) for _ in range(3)]

    def callback(guest: Guest, code: int, index: int, payload: int) -> int:
        log.append(index)
        guest.call("task.return", index, type_=U32, is_async=True)
        return EXIT

    function = guest.lift(lambda g, x: wait_on(gates[x].set), ASYNC_U32, is_async=True, callback=callback)
    calls = [world.start(function, i) for i in range(3)]
    assert not guest.busy
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


def test_a_synchronous_call_barges_in(world: World) -> None:
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


def test_what_a_synchronous_call_takes_from_one_task_does_not_hold_up_another(world: World) -> None:
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


def test_a_task_that_yields_goes_behind_those_that_wait(world: World) -> None:
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


def test_nothing_comes_in_while_a_synchronous_call_is_held_up(world: World) -> None:
    guest = world.guest()
    operation = Operation()
    waits = guest.lower(Host(lambda x: operation), SYNC_U32)  # as functions of WASI 0.2 that wait

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        return (yield from guest.imported(waits, x))

    first = world.start(guest.lift(core, SYNC_U32), 1)
    with pytest.raises(Trap, match="cannot enter component instance"):
        world.start(guest.lift(lambda guest, x: x, SYNC_U32), 2)
    second = world.start(guest.lift(lambda guest, x: x, ASYNC_U32), 3)
    world.scheduler.run()
    assert not first.resolved and not second.resolved
    operation.resolve(4)
    world.scheduler.run()
    assert (first.outcome, second.outcome) == (4, 3)


# ---- backpressure ----------------------------------------------------------------------------------------


def test_backpressure_holds_calls_back_until_it_is_gone(world: World) -> None:
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
    guest.backpressure = 2**16 - 2
    guest.call("backpressure.inc")
    with pytest.raises(Trap, match="backpressure counter overflow"):
        guest.call("backpressure.inc")


# ---- cancellation ----------------------------------------------------------------------------------------


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


def test_a_task_that_waits_is_told_at_once_that_it_is_cancelled(world: World) -> None:
    guest = world.guest()
    log: list[int] = []
    call = world.start(cancellable(Gate(guest), log))
    call.task.request_cancellation()
    assert log == [6] and call.outcome is CANCELLED
    assert call.task.state is TaskState.RESOLVED and guest.exclusive is None
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


def test_cancellation_is_told_once_and_asked_for_once(world: World) -> None:
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
def test_a_pending_cancellation_is_told_when_the_task_next_waits(world: World, code: object) -> None:
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
    # The event that it waited for comes first; it did not wait again, so it never learnt.
    assert log == [4] and call.outcome is None


@pytest.mark.parametrize("name", ["waitable-set.wait", "thread.yield"])
@pytest.mark.parametrize("pending", [False, True])
def test_cancellable_built_ins_are_told(world: World, name: str, pending: bool) -> None:
    guest = world.guest()
    gate, empty = Gate(guest), Gate(guest)
    seen = []

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        if pending:
            yield from guest.do("waitable-set.wait", gate.set, 0)
        args = (empty.set, 0) if name == "waitable-set.wait" else ()
        seen.append((yield from guest.do(name, *args, cancellable=True)))
        guest.call("task.cancel", is_async=True)
        return EXIT

    call = world.start(guest.lift(core, ASYNC, is_async=True, callback=never))
    call.task.request_cancellation()
    if pending:
        gate.open()
        world.scheduler.run()
    assert seen == [6 if name == "waitable-set.wait" else 1] and call.outcome is CANCELLED


def test_poll_tells_of_a_pending_cancellation_only_if_cancellable(world: World) -> None:
    guest = world.guest()
    gate, empty = Gate(guest), Gate(guest)
    seen = []

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", gate.set, 0)
        for cancellable in (False, True, True):
            seen.append(guest.call("waitable-set.poll", empty.set, 0, cancellable=cancellable))
        guest.call("task.cancel", is_async=True)
        return EXIT

    call = world.start(guest.lift(core, ASYNC, is_async=True, callback=never))
    call.task.request_cancellation()
    gate.open()
    world.scheduler.run()
    assert seen == [0, 6, 0] and call.outcome is CANCELLED


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
    from wasi_trio.component.definitions import StringEncoding

    guest = world.guest()
    invalid = r"invalid `task.return` signature and/or options for current task"

    def core(guest: Guest, x: int) -> int:
        with pytest.raises(Trap, match=invalid):
            guest.call("task.return", 1, type_=STRING, is_async=True)
        with pytest.raises(Trap, match=invalid):
            guest.call("task.return", is_async=True)
        with pytest.raises(Trap, match=invalid):
            guest.call("task.return", 1, type_=U32, encoding=StringEncoding.UTF16)
        guest.call("task.return", 5, type_=U32)  # its own options say nothing that matters
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


# ---- context, entering -----------------------------------------------------------------------------------


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


def test_the_host_can_not_enter_an_instance_that_is_running(world: World) -> None:
    parent = world.guest()
    child = world.guest(parent)
    inner = child.lift(lambda guest: None, ASYNC)

    def core(guest: Guest) -> None:
        for function in (inner, outer):
            with pytest.raises(Trap, match="cannot enter component instance"):
                world.start(function)

    outer = parent.lift(core, ASYNC)
    world.invoke(outer)
    world.invoke(inner)


# ---- functions with a stack of their own -----------------------------------------------------------------


def stackful(world: World, guest: Guest, gate: Gate):  # type: ignore[no-untyped-def]
    def core(guest: Guest):  # type: ignore[no-untyped-def]
        code = yield from guest.do("waitable-set.wait", gate.set, 0, cancellable=True)
        guest.call("task.cancel" if code == 6 else "task.return", is_async=True)

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
    assert beside[1].outcome is CANCELLED
    assert log == ["blocker starts"]


def test_backpressure_holds_them_back_too(world: World) -> None:
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


def test_they_too_must_resolve(world: World) -> None:
    guest = world.guest()
    with pytest.raises(Trap, match="async-lifted export failed to produce a result"):
        world.invoke(guest.lift(lambda guest: None, ASYNC, is_async=True))
