"""Core functions of concurrent components (WASI 0.3): trampolines for the Component Model's concurrency.

Guests reach a function that may block its thread through an adapter (``runtime._adapters``), as in WASI 0.2. But the
function waits for an ``Until`` that the pump evaluates, not for a coroutine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from wasi_trio.component import _types as t
from wasi_trio.component._errors import Trap
from wasi_trio.component._plan import AsyncBuiltin, CoreItem, HostFunc, Lifted, Lower, Options, Plan, ResourceBuiltin
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component.abi._codegen import Source, write_function
from wasi_trio.component.concurrency._builtins import bind, core_signature, may_wait
from wasi_trio.component.concurrency._instance import CANNOT_BLOCK, ComponentInstance
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._subtasks import GuestCallee, Lowering
from wasi_trio.component.concurrency._tasks import Task, UntilResolved, start_task
from wasi_trio.component.concurrency._threads import Until
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._host_calls import running
from wasi_trio.runtime._store import Store
from wasi_trio.runtime._trampolines import (
    Callee,
    Trampoline,
    acting,
    callback,
    catching_err,
    suspend,
    take_resource,
)

#: The implementation of a core function. It takes the instance and the bits of the arguments.
Act = Callable[..., "int | Until | None"]


def is_concurrent(plan: Plan) -> bool:
    """Return whether a component uses WASI 0.3's concurrency, so that a pump has to run it."""
    return (
        any(isinstance(canon, AsyncBuiltin) for canon in plan.canons)
        or any(
            isinstance(canon, Lower) and (canon.options.is_async or canon.func.type.is_async) for canon in plan.canons
        )
        or any(lifted.type.is_async for lifted in plan.lifted)
    )


@functools.cache
def _starting(*, fallible: bool, interruptible: bool) -> Callable[..., Any]:
    """Return a factory of ``BoundHostFunction.start``."""

    def build(source: Source) -> None:
        with source.block("def start(instance, arguments):"):
            source.line(f"call = (func, instance, {interruptible})")
            with running(source, "call"), catching_err(source, fallible):
                source.line("value = callee(instance, *arguments)")
            with source.block(f"if type(value) is {source.constant(CoroutineType, 'CoroutineType')}:"):
                source.line(f"return instance.scheduler.start(call, value, {fallible})")
            source.line("return value")
        source.line("return start")

    return write_function("host call: start", ("engine", "func", "callee"), build)


class BoundHostFunction:
    """A host function as a callee of the concurrency layer (``HostCallee``)."""

    __slots__ = ("start",)

    def __init__(self, engine: Engine, callee: Callee, func: HostFunc, *, interruptible: bool) -> None:
        make = _starting(fallible=isinstance(func.type.result, t.Result), interruptible=interruptible)
        self.start = make(engine, func, callee)


def guest_callee(function: LiftedFunction) -> GuestCallee:
    """Return a callee for a function of another component of the same composition."""

    def find(caller: ComponentInstance) -> ComponentInstance:
        assert isinstance(caller, Store)
        found: Store = caller.root.stores[function.part]
        return found

    return GuestCallee(function, find)


def lowering_trampoline(engine: Engine, lowering: Lowering) -> Trampoline:
    """Return the trampoline for ``canon lower`` of any function except a host's synchronous one."""
    act: Act = lowering
    if lowering.is_async:
        act = non_preemptible(engine, lowering)
    elif isinstance(lowering.callee, GuestCallee):
        act = _complete_at_start(engine, lowering)
    return trampoline(engine, lowering.params, lowering.results, act, blocks=not lowering.is_async)


def non_preemptible(engine: Engine, act: Act) -> Act:
    """Return ``act`` for a call whose guest continues at once. Epochs do not interrupt other guests that run in it.

    If one were interrupted, the calling guest would regard it as waiting, and could meet it in an inconsistent state.
    """

    def call(store: Store, *arguments: Any) -> int | Until | None:
        before = engine.non_preemptible_since
        if before is None:
            engine.non_preemptible_since = engine.ticker.ticked
        try:
            return act(store, *arguments)
        finally:
            engine.non_preemptible_since = before

    return call


def _complete_at_start(engine: Engine, act: Act) -> Act:
    """Return ``act`` for a call whose guest can wait, except during instantiation."""
    without_ticks = non_preemptible(engine, act)

    def call(store: Store, arguments: list[int]) -> int | Until | None:
        return (without_ticks if store.task is None else act)(store, arguments)

    return call


def drop_trampoline(engine: Engine, builtin: ResourceBuiltin, core: CoreItem) -> Trampoline:
    """Return the trampoline for ``resource.drop`` of another component's resource. ``core`` is the destructor."""
    resource = builtin.resource
    assert resource.owner is not None
    no_options = Options(StringEncoding.UTF8, None, None, None)
    destructor = LiftedFunction(Lifted(resource.owner, core, t.FuncType((("rep", t.U32),)), no_options))

    def drop(store: Store, arguments: list[int]) -> Until | None:
        rep = take_resource(store, arguments[0], resource)
        if rep is None:
            return None
        until = UntilResolved(store)
        task = Task(destructor, store.root.stores[destructor.part], lambda: (rep,), until.on_resolve)
        start_task(task, store)
        return None if until.ready() else until

    return trampoline(engine, ("i32",), (), _complete_at_start(engine, drop), blocks=True)


@functools.lru_cache(maxsize=1024)
def _calling(
    params: tuple[str, ...], *, spread: bool, blocks: bool, has_result: bool, pending_slot: int
) -> Callable[..., Any]:
    """Return a factory of callbacks that call ``act`` with the bits of their arguments."""

    def build(source: Source) -> None:
        arguments = ", ".join(f"raw[{2 * i}] & {ffi.BITS[kind]}" for i, kind in enumerate(params))
        with callback(source):
            source.line(f"outcome = act(store, {arguments if spread else f'[{arguments}]'})")
            if blocks:
                with source.block(f"if isinstance(outcome, {source.use(Until)}):"):
                    with source.block("if store.task is None:"):
                        source.line(f'raise {source.use(Trap)}("{CANNOT_BLOCK}")')
                    source.line("store.until = outcome")
                    suspend(source, pending_slot)
            if has_result:
                source.line("raw[0] = outcome")
            if blocks:
                source.line(f"raw[{pending_slot}] = 0")

    return write_function("host call: act", ("engine", "act"), build)


def trampoline(
    engine: Engine, params: tuple[str, ...], results: tuple[str, ...], act: Act, *, blocks: bool, spread: bool = False
) -> Trampoline:
    """Return the trampoline of a core function that calls ``act``. If it ``blocks``, ``act`` may return an ``Until``.

    ``act`` gets the bits of the arguments as a list, or as separate arguments if ``spread``.
    """
    has_result = bool(results)
    make = _calling(params, spread=spread, blocks=blocks, has_result=has_result, pending_slot=2 * len(results))
    start = ffi.UncheckedCallback(make(engine, act))
    if not blocks:
        return Trampoline(params, results, start)

    def finish(store: Store, raw: Any) -> None:
        until, cancelled = store.answer
        store.answer = None
        value = until.finish(cancelled)
        if has_result:
            raw[0] = value

    return Trampoline(params, results, start, acting(engine, finish))


def builtin_trampoline(engine: Engine, builtin: AsyncBuiltin) -> Trampoline:
    """Return the trampoline of a built-in of WASI 0.3's concurrency."""
    params, results = core_signature(builtin)
    act = bind(builtin)
    blocks = may_wait(builtin)
    if builtin.name == "subtask.cancel" and not blocks:
        act = non_preemptible(engine, act)  # it may run other guests
    return trampoline(engine, params, results, act, blocks=blocks, spread=True)
