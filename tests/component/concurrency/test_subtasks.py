"""Calls by guests: ``canon lower`` in both forms, to guests and to the host, and subtasks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.concurrency.callees import (
    ASYNC,
    ASYNC_STRING,
    ASYNC_U32,
    RETURNED,
    STARTED,
    STARTING,
    SYNC_U32,
    Blocking,
    poll,
    run,
    unpack,
)
from tests.component.concurrency.world import (
    EXIT,
    Guest,
    Host,
    Operation,
    World,
    wait_on,
)
from wasi_trio.component._account import CALL, OverBudget
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._handles import ResourceHandle
from wasi_trio.component._types import U32, Borrow, FuncType, ResourceType, Stream, Tuple

# ---- to guests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [SYNC_U32, ASYNC_U32])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_returns_at_once(world: World, type_: FuncType, is_async: bool) -> None:
    callee, caller = world.guest(), world.guest()
    lowering = caller.lower(world.callee(callee.lift(lambda guest, x: x + 1, type_)), type_, is_async)
    seen = []

    def core(guest: Guest) -> None:
        pointer = guest.scratch(4)
        code = lowering(guest.instance, [41, pointer] if is_async else [41])
        if is_async:
            assert code == RETURNED
            code = guest.word(pointer)
        seen.append(code)

    run(world, caller, core)
    assert seen == [42] and len(caller.handles) == 0


def test_a_synchronous_call_waits_for_its_callee(world: World) -> None:
    callee, caller = Blocking(world), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_U32)
    seen = []

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        seen.append((yield from guest.imported(lowering, 7)))

    run(world, caller, core)
    assert callee.log == [(7,)] and seen == []
    callee.unblock()
    world.scheduler.run()
    assert seen == [42] and len(caller.handles) == 0


def test_an_asynchronous_call_has_a_handle_and_an_event(world: World) -> None:
    callee, caller = Blocking(world), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_U32, is_async=True)

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        pointer = guest.scratch(4)
        wset = guest.call("waitable-set.new")
        state, index = unpack(lowering(guest.instance, [7, pointer]))
        assert state == STARTED
        guest.call("waitable.join", index, wset)
        assert poll(guest, wset) == (0, 0, 0)
        callee.unblock()
        assert guest.word(pointer) == 0
        code = yield from guest.do("waitable-set.wait", wset, 8)
        assert (code, guest.word(8), guest.word(12)) == (1, index, RETURNED)
        assert guest.word(pointer) == 42
        guest.call("subtask.drop", index)
        guest.call("waitable-set.drop", wset)

    call = run(world, caller, core)
    world.scheduler.run()
    assert call.resolved and len(caller.handles) == 0


def test_arguments_are_lifted_when_the_callee_starts_and_that_is_an_event(world: World) -> None:
    callee, caller = Blocking(world, ASYNC_STRING), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_STRING, is_async=True)
    callee.guest.call("backpressure.inc")

    def core(guest: Guest) -> None:
        text = guest.put(b"then")
        wset = guest.call("waitable-set.new")
        state, index = unpack(lowering(guest.instance, [text, 4, guest.scratch(8)]))
        assert state == STARTING and callee.log == []
        guest.call("waitable.join", index, wset)
        guest.memory.view[text : text + 4] = b"now!"

    run(world, caller, core)
    callee.guest.call("backpressure.dec")
    world.scheduler.run()
    ((pointer, length),) = callee.log
    assert callee.guest.read(pointer, length) == b"now!"
    assert poll(caller, 1) == (1, 2, STARTED)
    assert poll(caller, 1) == (0, 0, 0)


def test_an_event_that_was_not_taken_tells_the_latest_state(world: World) -> None:
    callee, caller = Blocking(world), world.guest()
    lowering = caller.lower(world.callee(callee.function), ASYNC_U32, is_async=True)
    callee.guest.call("backpressure.inc")

    def core(guest: Guest) -> None:
        wset = guest.call("waitable-set.new")
        _, index = unpack(lowering(guest.instance, [7, 64]))
        guest.call("waitable.join", index, wset)

    run(world, caller, core)
    callee.guest.call("backpressure.dec")
    world.scheduler.run()
    callee.unblock()
    world.scheduler.run()
    assert poll(caller, 1) == (1, 2, RETURNED)
    assert poll(caller, 1) == (0, 0, 0)
    assert caller.word(64) == 42


@pytest.mark.parametrize("is_async", [False, True])
def test_results_are_lowered_with_realloc_on_delivery(world: World, is_async: bool) -> None:
    callee, caller = Blocking(world, ASYNC_STRING), world.guest()
    callee.flats = (callee.guest.put(b"result"), 6)
    lowering = caller.lower(world.callee(callee.function), ASYNC_STRING, is_async)
    pointer = caller.scratch(8)

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        code = yield from guest.imported(lowering, 0, 0, pointer)
        if is_async:
            wset = guest.call("waitable-set.new")
            guest.call("waitable.join", unpack(code)[1], wset)
            yield from guest.do("waitable-set.wait", wset, 0)

    call = run(world, caller, core)
    callee.unblock()
    before = caller.reallocations
    for until in list(callee.world.scheduler.woken):
        assert until.thread is not None
        callee.world.scheduler.resume(until.thread, False)
    assert caller.reallocations == before
    waiting = caller.handles.account.used
    world.scheduler.run()
    assert call.resolved and (caller.handles.account.used < waiting) is is_async
    assert caller.read(caller.word(pointer), caller.word(pointer + 4)) == b"result"


def test_results_that_wait_for_delivery_are_bounded(world: World) -> None:
    callee, caller = Blocking(world, ASYNC_STRING), world.guest()
    callee.flats = (callee.guest.put(b"x" * 400), 400)
    lowering = caller.lower(world.callee(callee.function), ASYNC_STRING, is_async=True)

    def core(guest: Guest) -> None:
        for _ in range(3):
            lowering(guest.instance, [0, 0, 64])

    run(world, caller, core)
    caller.handles.account.limit = caller.handles.account.used - 3 * CALL + 1000
    for number in range(3):
        callee.unblock(number)
    with pytest.raises(OverBudget):
        world.scheduler.run()


def test_more_than_four_arguments_of_an_asynchronous_call_are_in_memory(world: World) -> None:
    callee, caller = world.guest(), world.guest()
    type_ = FuncType(tuple((f"p{i}", U32) for i in range(5)), Tuple((U32, U32)), is_async=True)

    def core(guest: Guest, *args: int) -> int:
        return guest.put(b"".join(arg.to_bytes(4, "little") for arg in (sum(args), len(args))))

    lowering = caller.lower(world.callee(callee.lift(core, type_)), type_, is_async=True)
    assert lowering.params == ("i32", "i32") and lowering.results == ("i32",)

    def run_(guest: Guest) -> None:
        arguments = guest.put(b"".join(i.to_bytes(4, "little") for i in range(1, 6)))
        pointer = guest.scratch(8)
        assert lowering(guest.instance, [arguments, pointer]) == RETURNED
        assert (guest.word(pointer), guest.word(pointer + 4)) == (15, 5)

    assert run(world, caller, run_).resolved


def test_lends_end_when_the_return_is_delivered(world: World) -> None:
    resource = ResourceType("thing")
    type_ = FuncType((("x", Borrow(resource)),), None, is_async=True)
    callee, caller = world.guest(), world.guest()
    log: list[Any] = []
    gate = callee.call("waitable-set.new")

    def core(guest: Guest, index: int) -> int:
        guest.handles.remove(index).scope.borrows -= 1
        return wait_on(gate)

    def callback(guest: Guest, *event: int) -> int:
        guest.call("task.return", is_async=True)
        return EXIT

    lowering = caller.lower(
        world.callee(callee.lift(core, type_, is_async=True, callback=callback)), type_, is_async=True
    )
    handle = ResourceHandle(resource, object(), own=True)

    def run_(guest: Guest) -> None:
        _, index = unpack(lowering(guest.instance, [guest.handles.add(handle)]))
        guest.call("waitable.join", index, guest.call("waitable-set.new"))
        log.append(index)

    run(world, caller, run_)
    assert handle.lends == 1
    ends = callee.call("stream.new", type_=Stream(None))
    callee.call("stream.read", ends & 0xFFFF_FFFF, 0, 1, type_=Stream(None), is_async=True)
    callee.call("waitable.join", ends & 0xFFFF_FFFF, gate)
    callee.call("stream.drop-writable", ends >> 32, type_=Stream(None))
    world.scheduler.run()
    assert handle.lends == 1
    assert poll(caller, 3) == (1, 2, RETURNED)
    assert handle.lends == 0


def test_components_call_each_other_recursively(world: World) -> None:
    """A component calls itself through another one, down to 0."""
    outer, inner = world.guest(), world.guest()

    def down(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        return 100 if x == 0 else 1 + (yield from guest.imported(to_inner, x - 1))

    def back(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        return 1 + (yield from guest.imported(to_outer, x))

    function = outer.lift(down, SYNC_U32)
    to_inner = outer.lower(world.callee(inner.lift(back, SYNC_U32)), SYNC_U32)
    to_outer = inner.lower(world.callee(function), SYNC_U32)
    assert world.invoke(function, 3) == 106
    assert outer.instance.task is None


def test_a_recursive_call_of_an_async_function_waits_for_entry(world: World) -> None:
    outer, inner = world.guest(), world.guest()

    def again(guest: Guest) -> None:
        raise AssertionError("the task that called has not left")

    def back(guest: Guest, x: int) -> int:
        assert unpack(to_outer(guest.instance, []))[0] == STARTING
        return x

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        return (yield from guest.imported(to_inner, x))

    to_inner = outer.lower(world.callee(inner.lift(back, SYNC_U32)), SYNC_U32)
    to_outer = inner.lower(world.callee(outer.lift(again, ASYNC)), ASYNC, is_async=True)
    call = world.start(outer.lift(core, ASYNC_U32), 5)
    assert call.outcome == 5
    assert len(outer.instance.entering) == 1


def test_a_guest_that_may_not_leave_cannot_call(world: World) -> None:
    caller = world.guest()
    caller.instance.may_leave = False
    with pytest.raises(Trap, match="cannot leave component instance"):
        caller.lower(Host(lambda: None), ASYNC)(caller.instance, [])


# ---- to the host -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_a_host_function_with_a_value_has_returned(world: World, is_async: bool) -> None:
    caller = world.guest()
    lowering = caller.lower(Host(lambda x: x.upper()), ASYNC_STRING, is_async)

    def core(guest: Guest) -> None:
        pointer = guest.scratch(8)
        assert lowering(guest.instance, [guest.put(b"hi"), 2, pointer]) == (RETURNED if is_async else None)
        assert guest.read(guest.word(pointer), 2) == b"HI"

    assert run(world, caller, core).resolved


@pytest.mark.parametrize("type_", [SYNC_U32, ASYNC_U32])
def test_a_synchronous_call_waits_for_a_host_operation(world: World, type_: FuncType) -> None:
    caller = world.guest()
    operation = Operation()
    lowering = caller.lower(Host(lambda x: operation.started), type_)

    def core(guest: Guest, x: int):  # type: ignore[no-untyped-def]
        return (yield from guest.imported(lowering, x))

    call = world.start(caller.lift(core, type_), 1)
    assert not call.resolved
    operation.resolve(5)
    assert world.scheduler.finish(call) == 5


def test_an_asynchronous_call_of_a_host_operation(world: World) -> None:
    caller = world.guest()
    operation = Operation()
    lowering = caller.lower(Host(lambda x: operation.started), ASYNC_U32, is_async=True)

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        wset = guest.call("waitable-set.new")
        state, index = unpack(lowering(guest.instance, [1, 64]))
        assert state == STARTED
        guest.call("waitable.join", index, wset)
        assert (yield from guest.do("waitable-set.wait", wset, 0)) == 1
        assert guest.word(64) == 5

    call = run(world, caller, core)
    operation.resolve(5)
    world.scheduler.run()
    assert call.resolved


def test_exceptions_of_host_functions_reach_the_caller(world: World) -> None:
    caller = world.guest()

    def fail() -> None:
        raise LookupError("not here")

    with pytest.raises(LookupError, match="not here"):
        caller.lower(Host(fail), ASYNC, is_async=True)(caller.instance, [])


def test_a_value_that_does_not_fit_is_a_host_error(world: World) -> None:
    caller = world.guest()
    lowering = caller.lower(Host(lambda x: "text"), ASYNC_U32, is_async=True)
    with pytest.raises(HostError, match="u32 cannot be made from a Python str"):
        lowering(caller.instance, [1, 64])


def test_a_bad_return_pointer_traps(world: World) -> None:
    caller = world.guest()
    lowering = caller.lower(Host(lambda x: x), ASYNC_U32, is_async=True)
    for pointer, message in [(65536, "out of bounds"), (2, "unaligned pointer")]:
        with pytest.raises(Trap, match=message):
            lowering(caller.instance, [1, pointer])
