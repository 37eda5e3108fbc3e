"""The host functions that wasm calls: one for each canonical definition of a component.

They are made once per linked component and find the instance they act for in ``engine.current``. Each is a C
callback, so nothing may escape from it: an exception is kept in the store, the guest is made to trap, and whoever
called the guest gets the exception itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from wasi_trio.component import abi
from wasi_trio.component import types as t
from wasi_trio.component.context import Context
from wasi_trio.component.definitions import StringEncoding
from wasi_trio.component.errors import Trap
from wasi_trio.component.handles import ResourceHandle
from wasi_trio.component.plan import HostFunc, Lifted, Lower, Options, ResourceBuiltin
from wasi_trio.component.values import Err
from wasi_trio.runtime import ffi
from wasi_trio.runtime.host_calls import after_failure, settle, suspended_at
from wasi_trio.runtime.store import Pending, Store

if TYPE_CHECKING:
    from wasi_trio.runtime.engine import Engine

_MASK32 = 0xFFFF_FFFF

#: calls what a lowered function stands for: (store of the caller, *lifted arguments) -> value, or a coroutine of it
Callee = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Trampoline:
    """A core function made by a canonical definition.

    ``start`` is its callback. Where the function may wait, ``finish`` is the callback that lowers the result later
    and ``start`` answers one more i32, whether to wait: see ``runtime.adapters``.
    """

    params: tuple[str, ...]
    results: tuple[str, ...]
    start: Any
    finish: Any = None


def fail(store: Store, error: BaseException) -> int:
    """Keep what a host function raised and answer the trap that unwinds the guest."""
    error = after_failure(store.engine, error)
    if store.failure is None:
        store.failure = error
    message = f"{type(error).__name__}: {error}".encode()
    return int(ffi.trap_new(message, len(message)))


def lower_trampoline(
    engine: Engine, lower: Lower, callee: Callee, waits: bool, *, runs_guest: bool = False
) -> Trampoline:
    """``canon lower``: the core function through which a guest calls ``callee`` (CanonicalABI.md, "canon lower").

    ``runs_guest`` says that it is code of a guest's in its turn, and not a host function.
    """
    func, options = lower.func, lower.options
    type_ = func.type
    marked = not runs_guest
    types = tuple(type_ for _, type_ in type_.params)
    # Nothing else happens in an instance while it is in a host call, so only a call's own arguments could clash.
    tracked = isinstance(func, Lifted) or abi.needs_lends(type_)
    lift = abi.lift_values(types, options.encoding, abi.MAX_FLAT_PARAMS, stride=2, track_lends=tracked)
    store_result = abi.lower_results(
        type_.result, options.encoding, stride=2, max_flat=abi.MAX_FLAT_RESULTS, instance_index=lower.part
    )
    params, results = abi.core_signature(type_, "lower", False, False)
    # The pointer for a result that does not fit comes after the flat parameters.
    spills = len(params) > abi.flat_count(types, abi.MAX_FLAT_PARAMS)
    pointer_slot = 2 * (len(params) - 1) if spills else 0
    pending_slot = 2 * len(results)
    fallible = isinstance(type_.result, t.Result)

    def start(env: int, caller: int, raw: Any, count: int) -> int:
        store = engine.current
        assert store is not None
        try:
            if not store.may_leave:
                raise Trap("cannot leave component instance")
            context = store.contexts.get(options)
            if context is None:
                context = store.context(options)
            arguments = lift(context, raw)
            engine.host_call = (func, store)
            try:
                value = callee(store, *arguments)
            except Err as error:
                if not fallible:
                    raise
                value = error.with_traceback(None)
            finally:
                engine.host_call = None
                if engine.interruption is not None:
                    settle(engine)
            store_result(context, raw, raw[pointer_slot] & _MASK32, value)
        except BaseException as error:  # kept, and raised again by the driver
            return fail(store, error)
        return 0

    if not waits and not tracked:
        return Trampoline(params, results, ffi.UncheckedCallback(start))

    def give_back(context: Context, lenders: list[ResourceHandle]) -> None:
        for handle in lenders:
            handle.lends -= 1

    def start_waiting(env: int, caller: int, raw: Any, count: int) -> int:
        store = engine.current
        assert store is not None
        coroutine = None
        try:
            if not store.may_leave:
                raise Trap("cannot leave component instance")
            context = store.contexts.get(options)
            if context is None:
                context = store.context(options)
            arguments = lift(context, raw)
            lenders = context.lenders
            if lenders:
                context.lenders = []
            pointer = raw[pointer_slot] & _MASK32
            engine.host_call = (func, store) if marked else None
            try:
                value = callee(store, *arguments)
                if type(value) is CoroutineType:
                    # The first step is taken here and now: most calls are over with it.
                    coroutine = value
                    try:
                        trap = coroutine.send(None)
                    except StopIteration as stop:
                        value = stop.value
                        coroutine = None
            except Err as error:
                if not fallible:
                    raise
                value = error.with_traceback(None)
                coroutine = None
            finally:
                engine.host_call = None
                if engine.interruption is not None:
                    settle(engine)
            if coroutine is not None:
                if engine.nested:
                    raise Trap("cannot wait in realloc, post-return or a destructor")
                call = (func, store) if marked else None
                store.pending = Pending(coroutine, trap, store_result, context, pointer, lenders, fallible, call)
                store.flag[0] = b"\0"
                raw[pending_slot] = 1
                return 0
            if lenders:
                give_back(context, lenders)
            store_result(context, raw, pointer, value)
            if waits:
                raw[pending_slot] = 0
        except BaseException as error:  # kept, and raised again by the driver
            if coroutine is not None and coroutine.cr_suspended:
                engine.orphans.append((coroutine, suspended_at(coroutine)))
            return fail(store, error)
        return 0

    def finish(env: int, caller: int, raw: Any, count: int) -> int:
        store = engine.current
        assert store is not None
        try:
            pending, store.pending = store.pending, None
            assert pending is not None, "the fiber goes on only once its host call is done"
            if pending.lenders:
                give_back(pending.context, pending.lenders)
            store_result(pending.context, raw, pending.return_pointer, pending.value)
        except BaseException as error:  # kept, and raised again by the driver
            return fail(store, error)
        return 0

    return Trampoline(
        params, results, ffi.UncheckedCallback(start_waiting), ffi.UncheckedCallback(finish) if waits else None
    )


def resource_trampoline(engine: Engine, builtin: ResourceBuiltin, destroy: Callee | None, waits: bool) -> Trampoline:
    """``resource.new``, ``resource.rep`` or ``resource.drop`` (CanonicalABI.md, "canon resource.new" and on)."""
    resource = builtin.resource
    if builtin.name == "resource.new":

        def new(store: Store, raw: Any) -> None:
            if not store.may_leave:
                raise Trap("cannot leave component instance")
            raw[0] = store.handles.add(ResourceHandle(resource, raw[0] & _MASK32, own=True))

        return Trampoline(("i32",), ("i32",), _callback(engine, new))
    if builtin.name == "resource.rep":

        def rep(store: Store, raw: Any) -> None:
            raw[0] = store.handles.resource(raw[0] & _MASK32, resource).rep

        return Trampoline(("i32",), ("i32",), _callback(engine, rep))

    if not waits:

        def drop(store: Store, raw: Any) -> None:
            rep = take_resource(store, raw[0] & _MASK32, resource)
            if rep is not None and destroy is not None:
                destroy(store, rep)

        return Trampoline(("i32",), (), _callback(engine, drop))

    assert destroy is not None

    def drop_other(store: Store, index: int) -> Any:
        rep = take_resource(store, index, resource)
        return None if rep is None else destroy(store, rep)

    as_function = HostFunc("", "resource.drop", t.FuncType((("handle", t.U32),)))
    options = Options(StringEncoding.UTF8, None, None, None)
    return lower_trampoline(engine, Lower(builtin.part, as_function, options), drop_other, waits=True, runs_guest=True)


def take_resource(store: Store, index: int, resource: t.ResourceType) -> Any:
    """Remove a handle that is being dropped; gives its rep if the resource is to be destroyed, else None."""
    if not store.may_leave:
        raise Trap("cannot leave component instance")
    handle = store.handles.resource(index, resource)
    if handle.lends:
        raise Trap(f"cannot remove owned resource while borrowed (handle index {index})")
    store.handles.remove(index)
    if handle.own:
        return handle.rep
    assert handle.scope is not None
    handle.scope.borrows -= 1
    return None


def _callback(engine: Engine, act: Callable[[Store, Any], None]) -> Any:
    def callback(env: int, caller: int, raw: Any, count: int) -> int:
        store = engine.current
        assert store is not None
        try:
            act(store, raw)
        except BaseException as error:  # kept, and raised again by the driver
            return fail(store, error)
        return 0

    return ffi.UncheckedCallback(callback)
