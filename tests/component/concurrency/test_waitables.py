"""Waitable sets and events, error contexts, and the core types of the built-ins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.concurrency.world import EXIT, Guest, Host, Operation, World
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._plan import AsyncBuiltin, Options
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._types import ERROR_CONTEXT, F64, STRING, U8, U32, FuncType, Future, Stream, Tuple, ValType
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.component.concurrency import HostFutureWriter, SharedFuture, core_signature, may_wait
from wasi_trio.component.concurrency._builtins import _BUILTINS
from wasi_trio.component.concurrency._waitable_builtins import MAX_DEBUG_MESSAGE
from wasi_trio.component.concurrency._weights import weigh

FUTURE = Future(None)
SYNC_AND_ASYNC = "waitable cannot be used synchronously while added to a waitable set"


def reading(guest: Guest) -> tuple[int, int]:
    """Return the readable and writable ends of a future that is being read."""
    ends = guest.call("future.new", type_=FUTURE)
    guest.call("future.read", ends & 0xFFFF_FFFF, 0, type_=FUTURE, is_async=True)
    return ends & 0xFFFF_FFFF, ends >> 32


def write(guest: Guest, writable: int) -> None:
    guest.call("future.write", writable, 0, type_=FUTURE, is_async=True)


def poll(guest: Guest, wset: int) -> tuple[int, int, int]:
    code = guest.call("waitable-set.poll", wset, 512)
    return code, guest.word(512), guest.word(516)


def test_events_are_taken_in_the_order_they_came(world: World) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")
    ends = [reading(guest) for _ in range(4)]
    for readable, _ in ends:
        guest.call("waitable.join", readable, wset)
    for i in (2, 0, 3):
        write(guest, ends[i][1])
    assert [poll(guest, wset) for _ in range(4)] == [(4, ends[i][0], 0) for i in (2, 0, 3)] + [(0, 0, 0)]
    write(guest, ends[1][1])
    assert poll(guest, wset) == (4, ends[1][0], 0)


def test_a_waitable_takes_its_event_from_set_to_set(world: World) -> None:
    guest = world.guest()
    first, second = guest.call("waitable-set.new"), guest.call("waitable-set.new")
    readable, writable = reading(guest)
    write(guest, writable)
    guest.call("waitable.join", readable, first)
    guest.call("waitable.join", readable, second)
    assert poll(guest, first) == (0, 0, 0)
    guest.call("waitable.join", readable, 0)
    assert poll(guest, second) == (0, 0, 0)
    guest.call("waitable-set.drop", first)
    guest.call("waitable.join", readable, second)
    assert poll(guest, second) == (4, readable, 0)


def test_joining_wakes_the_waiters_of_the_set(world: World) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")
    readable, writable = reading(guest)

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        assert (yield from guest.do("waitable-set.wait", wset, 0)) == 4

    call = world.start(guest.lift(core, FuncType((), None, is_async=True)))
    write(guest, writable)
    guest.call("waitable.join", readable, wset)
    world.scheduler.run()
    assert call.resolved


def test_a_pending_event_needs_no_wait(world: World) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")
    readable, writable = reading(guest)
    guest.call("waitable.join", readable, wset)
    write(guest, writable)
    assert world.inside(guest, lambda: guest.call("waitable-set.wait", wset, 0)) == 4
    assert (guest.word(0), guest.word(4)) == (readable, 0)


def test_a_set_with_members_or_waiters_is_not_dropped(world: World) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("waitable-set.wait", wset, 0)

    world.start(guest.lift(core, FuncType((), None, is_async=True)))
    with pytest.raises(Trap, match="cannot drop waitable set with waiters"):
        guest.call("waitable-set.drop", wset)
    other = guest.call("waitable-set.new")
    readable, _ = reading(guest)
    guest.call("waitable.join", readable, other)
    with pytest.raises(Trap, match="cannot drop waitable set with waitables in it"):
        guest.call("waitable-set.drop", other)
    guest.call("waitable.join", readable, 0)
    guest.call("waitable-set.drop", other)
    with pytest.raises(Trap, match=f"unknown handle index {other}"):
        guest.call("waitable-set.drop", other)


@pytest.mark.parametrize("name", ["waitable-set.wait", "waitable-set.poll"])
def test_the_address_for_the_event_is_checked(world: World, name: str) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")
    readable, writable = reading(guest)
    guest.call("waitable.join", readable, wset)
    write(guest, writable)

    def core() -> None:
        with pytest.raises(Trap, match="unaligned pointer"):
            guest.call(name, wset, 2)

    world.inside(guest, core)
    for pointer in (65532, 2**32 - 4):
        with pytest.raises(Trap, match="pointer out of bounds of memory"):
            guest.call("waitable-set.poll", wset, pointer)
    assert guest.call("waitable-set.poll", wset, 65528) == 0


def test_handles_must_be_of_the_right_kind(world: World) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")
    readable, _ = reading(guest)
    for name, args, kind in [
        ("waitable-set.poll", (readable, 0), "waitable set"),
        ("waitable-set.drop", (readable,), "waitable set"),
        ("waitable.join", (wset, wset), "waitable"),
        ("waitable.join", (readable, readable), "waitable set"),
        ("subtask.drop", (readable,), "subtask"),
        ("error-context.drop", (readable,), "error context"),
        ("error-context.debug-message", (readable, 0), "error context"),
    ]:
        with pytest.raises(Trap, match=f"is not a {kind}"):
            guest.call(name, *args)
        with pytest.raises(Trap, match="unknown handle index 77"):
            guest.call(name, 77, *args[1:])


def test_a_waitable_cannot_be_joined_during_a_synchronous_wait(world: World) -> None:
    guest = world.guest()
    ends = guest.call("future.new", type_=FUTURE)
    readable = ends & 0xFFFF_FFFF

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        yield from guest.do("future.read", readable, 0, type_=FUTURE)

    world.start(guest.lift(core, FuncType((), None, is_async=True)))
    wset = guest.call("waitable-set.new")
    with pytest.raises(Trap, match=SYNC_AND_ASYNC):
        guest.call("waitable.join", readable, wset)


def test_callbacks_and_core_code_can_wait_for_one_set(world: World) -> None:
    guest = world.guest()
    wset = guest.call("waitable-set.new")
    ends = [reading(guest) for _ in range(2)]
    for readable, _ in ends:
        guest.call("waitable.join", readable, wset)
    log: list[Any] = []

    def callback(guest: Guest, *event: int) -> int:
        log.append(event)
        guest.call("task.return", is_async=True)
        return EXIT

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        log.append((yield from guest.do("waitable-set.wait", wset, 0)))

    type_ = FuncType((), None, is_async=True)
    world.start(guest.lift(lambda guest: 2 | wset << 4, type_, is_async=True, callback=callback))
    world.start(guest.lift(core, type_))
    for _, writable in ends:
        write(guest, writable)
    world.scheduler.run()
    assert log == [4, (4, ends[1][0], 0)]


# ---- leaving -----------------------------------------------------------------------------------------------

TYPES: dict[str, ValType] = {"stream": Stream(U8), "future": Future(U8)}
MAY_BE_CALLED_ANYWHERE = {"context.get", "context.set", "backpressure.inc", "backpressure.dec"}


def definition(name: str, is_async: bool = False) -> AsyncBuiltin:
    options = Options(StringEncoding.UTF8, None, None, None, is_async)
    return AsyncBuiltin(0, name, TYPES.get(name.split(".")[0]), options)


@pytest.mark.parametrize("name", sorted(set(_BUILTINS) - MAY_BE_CALLED_ANYWHERE))
def test_built_ins_are_refused_if_the_guest_may_not_leave(world: World, name: str) -> None:
    guest = world.guest()
    guest.instance.may_leave = False
    params, _ = core_signature(definition(name))
    with pytest.raises(Trap, match="cannot leave component instance"):
        guest.call(name, *[0] * len(params), type_=TYPES.get(name.split(".")[0]))


def test_core_types() -> None:
    assert core_signature(definition("stream.new")) == ((), ("i64",))
    assert core_signature(definition("stream.read")) == (("i32", "i32", "i32"), ("i32",))
    assert core_signature(definition("future.write")) == (("i32", "i32"), ("i32",))
    assert core_signature(definition("future.cancel-write")) == (("i32",), ("i32",))
    assert core_signature(definition("stream.drop-readable")) == (("i32",), ())
    assert core_signature(definition("waitable.join")) == (("i32", "i32"), ())
    options = definition("task.return").options
    for slot_type in ("i32", "i64"):
        assert core_signature(AsyncBuiltin(0, "context.get", None, options, core_type=slot_type)) == ((), (slot_type,))
        assert core_signature(AsyncBuiltin(0, "context.set", None, options, core_type=slot_type)) == ((slot_type,), ())
    for result, params in [
        (None, ()),
        (Tuple((STRING, F64)), ("i32", "i32", "f64")),
        (Tuple((U32,) * 16), ("i32",) * 16),
        (Tuple((U32,) * 17), ("i32",)),
    ]:
        assert core_signature(AsyncBuiltin(0, "task.return", result, options)) == (params, ())


def test_which_built_ins_may_wait() -> None:
    assert {name for name in _BUILTINS if may_wait(definition(name))} == {
        "thread.yield",
        "waitable-set.wait",
        "subtask.cancel",
        "stream.read",
        "stream.write",
        "future.read",
        "future.write",
    }
    assert {name for name in _BUILTINS if may_wait(definition(name, True))} == {"thread.yield", "waitable-set.wait"}


# ---- error contexts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", list(StringEncoding))
def test_error_contexts_keep_a_message(world: World, encoding: StringEncoding) -> None:
    guest = world.guest()
    text = "broken: \u00e9"
    data = text.encode("utf-8" if encoding is StringEncoding.UTF8 else "utf-16-le")
    length = len(data) if encoding is StringEncoding.UTF8 else len(text)
    if encoding is StringEncoding.LATIN1_UTF16:
        length |= 2**31
    index = guest.call("error-context.new", guest.put(data), length, encoding=encoding)
    guest.call("error-context.debug-message", index, 64, encoding=encoding)
    pointer, length = guest.word(64), guest.word(68)
    codec = {"utf8": "utf-8", "utf16": "utf-16-le", "latin1+utf16": "latin-1"}[encoding.value]
    assert guest.read(pointer, 2 * length if encoding is StringEncoding.UTF16 else length).decode(codec) == text
    guest.call("error-context.drop", index)
    assert len(guest.handles) == 0


def test_long_messages_are_truncated(world: World) -> None:
    guest = world.guest()
    index = guest.call("error-context.new", guest.put(b"x" * 5000), 5000)
    guest.call("error-context.debug-message", index, 64)
    assert guest.word(68) == MAX_DEBUG_MESSAGE


def test_error_contexts_pass_between_guest_and_host(world: World) -> None:
    guest = world.guest()
    lowering = guest.lower(Host(lambda error: error), FuncType((("e", ERROR_CONTEXT),), ERROR_CONTEXT))
    index = guest.call("error-context.new", guest.put(b"why"), 3)
    copy = lowering(guest.instance, [index])
    assert isinstance(copy, int) and guest.handles.get(copy) is guest.handles.get(index)
    with pytest.raises(Trap, match="is not an error context"):
        lowering(guest.instance, [guest.call("waitable-set.new")])
    with pytest.raises(HostError, match="error-context cannot be made from a Python str"):
        guest.lower(Host(lambda: "why"), FuncType((), ERROR_CONTEXT))(guest.instance, [])


# ---- the end of an instance --------------------------------------------------------------------------------


def test_the_other_ends_learn_that_an_instance_has_ended(world: World) -> None:
    guest = world.guest()
    shared = SharedFuture(U8)
    writer = HostFutureWriter(shared)
    results: list[Any] = []
    context = guest.instance.context(guest.options())
    index = context.lower_future(shared, U8)
    writer.start_write(5, lambda result, _: results.append(result))
    guest.lower(Host(lambda: Operation().started), FuncType((), None, is_async=True), is_async=True)(guest.instance, [])
    guest.call("waitable-set.new")
    list(guest.instance.abandon())
    assert results == [1] and guest.handles.get(index)


def test_nothing_is_written_into_a_guest_that_has_ended(world: World) -> None:
    guest = world.guest()
    shared = SharedFuture(U8)
    writer = HostFutureWriter(shared)
    index = guest.instance.context(guest.options()).lower_future(shared, U8)
    guest.call("future.read", index, 64, type_=Future(U8), is_async=True)
    list(guest.instance.abandon())
    results: list[Any] = []
    writer.start_write(5, lambda result, _: results.append(result))
    assert results == [1] and guest.read(64, 1) == b"\0"
    assert not guest.handles.get(index).pending


def test_weights_include_nested_values() -> None:
    assert weigh("x" * 1000) >= 1000
    for value in (Ok("x" * 1000), Err(["x" * 1000]), {"k": b"x" * 1000}, Variant("c", (1, "x" * 1000))):
        assert weigh(value) > weigh("x" * 1000)
    assert weigh([1] * 1000) > 8000
