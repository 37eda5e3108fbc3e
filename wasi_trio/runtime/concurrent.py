"""Core functions of concurrent components (WASI 0.3): trampolines over the Component Model's concurrency layer.

Those of a function that may block its thread are reached through an adapter (``runtime.adapters``) as in WASI 0.2, but
what they wait for is an ``Until`` that the pump evaluates, not a coroutine.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from wasi_trio.component import types as t
from wasi_trio.component.concurrency.builtins import bind, core_signature, may_wait
from wasi_trio.component.concurrency.instance import ComponentInstance
from wasi_trio.component.concurrency.subtasks import GuestCallee, Lowering
from wasi_trio.component.concurrency.tasks import LiftedFunction, Task, TaskState, start_task
from wasi_trio.component.concurrency.threads import Until
from wasi_trio.component.definitions import StringEncoding
from wasi_trio.component.errors import Trap
from wasi_trio.component.plan import AsyncBuiltin, CoreItem, HostFunc, Lifted, Lower, Options, Plan, ResourceBuiltin
from wasi_trio.component.values import Err
from wasi_trio.runtime import ffi
from wasi_trio.runtime.host_calls import settle
from wasi_trio.runtime.store import Store
from wasi_trio.runtime.trampolines import Callee, Trampoline, fail, take_resource

if TYPE_CHECKING:
    from wasi_trio.runtime.engine import Engine

#: does what a core function does: given the instance and the bits of the arguments
Act = Callable[[Store, list[int]], "int | Until | None"]

_MASK32 = 0xFFFF_FFFF
_CANNOT_BLOCK = "cannot wait in realloc, post-return or a destructor"


def is_concurrent(plan: Plan) -> bool:
    """Whether a component has anything of WASI 0.3's concurrency in it, so that a pump has to run it."""
    return (
        any(isinstance(canon, AsyncBuiltin) for canon in plan.canons)
        or any(
            isinstance(canon, Lower) and (canon.options.is_async or canon.func.type.is_async) for canon in plan.canons
        )
        or any(lifted.type.is_async for lifted in plan.lifted)
    )


class BoundHostFunction:
    """A host function as a callee of the concurrency layer (its ``HostCallee``)."""

    __slots__ = ("_call", "_fallible", "_func")

    def __init__(self, call: Callee, func: HostFunc) -> None:
        self._call = call
        self._func = func
        self._fallible = isinstance(func.type.result, t.Result)

    def start(self, instance: ComponentInstance, arguments: tuple[Any, ...]) -> Any:
        assert isinstance(instance, Store)
        engine = instance.engine
        engine.host_call = call = (self._func, instance)
        try:
            value = self._call(instance, *arguments)
        except Err as error:
            if not self._fallible:
                raise
            return error.with_traceback(None)
        finally:
            engine.host_call = None
            if engine.interruption is not None:
                settle(engine)
        if type(value) is CoroutineType:
            return instance.scheduler.start(call, value, self._fallible)  # type: ignore[attr-defined]
        return value


def guest_callee(function: LiftedFunction) -> GuestCallee:
    """A function of another component of the same composition as a callee."""

    def find(caller: ComponentInstance) -> ComponentInstance:
        assert isinstance(caller, Store)
        found: Store = caller.root.stores[function.part]
        return found

    return GuestCallee(function, find)


def lowering_trampoline(engine: Engine, lowering: Lowering) -> Trampoline:
    """``canon lower`` of any function but a host's synchronous one."""
    act = pinned(engine, lowering) if lowering.is_async else lowering
    return trampoline(engine, lowering.params, lowering.results, act, blocks=not lowering.is_async)


def pinned(engine: Engine, act: Act) -> Act:
    """``act`` on behalf of a guest that has its answer at once: what other guests do in it is not interrupted.

    If one were, the guest would take it to be waiting, and could come upon it in the middle of something.
    """

    def call(store: Store, arguments: list[int]) -> int | Until | None:
        before = engine.pinned_since
        if before is None:
            engine.pinned_since = engine.ticker.ticks
        try:
            return act(store, arguments)
        finally:
            engine.pinned_since = before

    return call


def drop_trampoline(engine: Engine, builtin: ResourceBuiltin, core: CoreItem) -> Trampoline:
    """``resource.drop`` of a resource that another component implements, whose destructor is ``core``."""
    resource = builtin.resource
    assert resource.owner is not None
    no_options = Options(StringEncoding.UTF8, None, None, None)
    destructor = LiftedFunction(Lifted(resource.owner, core, t.FuncType((("rep", t.U32),)), no_options))

    def drop(store: Store, arguments: list[int]) -> Until | None:
        rep = take_resource(store, arguments[0], resource)
        if rep is None:
            return None
        until: Until | None = None

        def on_resolve(outcome: Any) -> None:
            if until is not None:
                store.scheduler.wake(until)

        task = Task(destructor, store.root.stores[destructor.part], lambda: (rep,), on_resolve)
        start_task(task, store)
        if task.state is TaskState.RESOLVED:
            return None
        until = Until(lambda: task.state is TaskState.RESOLVED, False, lambda cancelled: None)
        return until

    return trampoline(engine, ("i32",), (), drop, blocks=True)


def trampoline(
    engine: Engine, params: tuple[str, ...], results: tuple[str, ...], act: Act, *, blocks: bool
) -> Trampoline:
    """The core function that does ``act``; one that ``blocks`` may answer an ``Until``."""
    slots = [(2 * i, ffi.BITS[kind]) for i, kind in enumerate(params)]
    has_result = bool(results)
    pending_slot = 2 * len(results)

    def start(env: int, caller: int, raw: Any, count: int) -> int:
        store = engine.current
        assert store is not None
        try:
            outcome = act(store, [raw[slot] & mask for slot, mask in slots])
            if type(outcome) is Until:
                if engine.nested:
                    raise Trap(_CANNOT_BLOCK)
                assert blocks
                store.until = outcome
                store.flag[0] = b"\0"
                raw[pending_slot] = 1
                return 0
            if has_result:
                raw[0] = outcome
            if blocks:
                raw[pending_slot] = 0
        except BaseException as error:  # kept, and raised again by the driver
            return fail(store, error)
        return 0

    if not blocks:
        return Trampoline(params, results, ffi.UncheckedCallback(start))

    def finish(env: int, caller: int, raw: Any, count: int) -> int:
        store = engine.current
        assert store is not None
        try:
            until, cancelled = store.answer
            store.answer = None
            value = until.finish(cancelled)
            if has_result:
                raw[0] = value
        except BaseException as error:  # kept, and raised again by the driver
            return fail(store, error)
        return 0

    return Trampoline(params, results, ffi.UncheckedCallback(start), ffi.UncheckedCallback(finish))


def builtin_trampoline(engine: Engine, builtin: AsyncBuiltin) -> Trampoline:
    """A built-in of WASI 0.3's concurrency."""
    params, results = core_signature(builtin)
    act = bind(builtin)
    blocks = may_wait(builtin)
    runs_others = builtin.name == "subtask.cancel" and not blocks
    if not blocks and not runs_others and len(params) <= 3 and all(kind == "i32" for kind in params):
        return Trampoline(params, results, ffi.UncheckedCallback(_direct(engine, len(params), bool(results), act)))

    def call(store: Store, arguments: list[int]) -> int | Until | None:
        return act(store, *arguments)

    return trampoline(engine, params, results, pinned(engine, call) if runs_others else call, blocks=blocks)


def _direct(engine: Engine, arity: int, has_result: bool, act: Callable[..., Any]) -> Callable[..., int]:
    """The callback of a built-in that takes so many i32, written out: guests call these all the time."""

    def none(raw: Any) -> Any:
        return act(engine.current)

    def one(raw: Any) -> Any:
        return act(engine.current, raw[0] & _MASK32)

    def two(raw: Any) -> Any:
        return act(engine.current, raw[0] & _MASK32, raw[2] & _MASK32)

    def three(raw: Any) -> Any:
        return act(engine.current, raw[0] & _MASK32, raw[2] & _MASK32, raw[4] & _MASK32)

    run = (none, one, two, three)[arity]

    def start(env: int, caller: int, raw: Any, count: int) -> int:
        try:
            outcome = run(raw)
            if has_result:
                raw[0] = outcome
        except BaseException as error:  # kept, and raised again by the driver
            store = engine.current
            assert store is not None
            return fail(store, error)
        return 0

    return start
