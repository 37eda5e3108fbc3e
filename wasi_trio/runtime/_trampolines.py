"""The host functions that wasm calls: one for each canonical definition of a component.

They are created once for each linked component. They find the calling instance in ``engine.current``. Each is a C
callback, so no exception may escape from it. Instead, the store keeps the exception, the guest traps, and the guest's
caller gets the exception itself.

Guests call these functions very often. So the code of each is generated in one piece from common parts (``callback``,
``_host_calls.running``). A host function's callback is generated at its first call, together with the code that lifts
and lowers its types. For other kinds a function is generated once, whose closures are the callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from types import CoroutineType
from typing import Any, NamedTuple, cast

from wasi_trio._texts import shown
from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import ResourceHandle
from wasi_trio.component._plan import HostFunc, Lifted, Lower, Options, ResourceBuiltin
from wasi_trio.component._sorts import StringEncoding
from wasi_trio.component._values import Err
from wasi_trio.component.abi._codegen import Source, lazy_function, write_function
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._host_calls import Pending, after_failure, running
from wasi_trio.runtime._keyboard import interruptible
from wasi_trio.runtime._store import Store
from wasi_trio.runtime._trio_internals import trap_of

_MASK32 = 0xFFFF_FFFF

#: The implementation of a lowered function: (store of the caller, *lifted arguments) -> value or its coroutine.
Callee = Callable[..., Any]


class Method(NamedTuple):
    """The implementation of a lowered function as a method of its first argument, a host's resource."""

    name: str


class Bound(NamedTuple):
    """The implementation of a lowered function as an entry of ``Instance.bound``, which ``find`` makes and returns."""

    find: Callable[[Store], Callable[..., Any]]


class Trampoline(NamedTuple):
    """A core function of a canonical definition.

    ``start`` is its callback. If the function may wait, ``start`` returns an additional i32, whether to wait, and
    ``finish`` is the callback that lowers the result later. See ``runtime._adapters``.
    """

    params: tuple[str, ...]
    results: tuple[str, ...]
    start: Any
    finish: Any = None


def fail(store: Store, error: BaseException) -> int:
    """Store the exception of a host function, and return the trap that unwinds the guest."""
    error = after_failure(store.engine, error)
    if store.failure is None:
        store.failure = error
    message = shown(f"{type(error).__name__}: {error}").encode()
    return int(ffi.trap_new(message, len(message)))


# ---- code around every callback --------------------------------------------------------------------------


@contextmanager
def callback(source: Source, on_failure: str | None = None) -> Iterator[None]:
    """Put the lines added inside into a callback, where ``store`` is the calling instance.

    ``raw`` contains the arguments, and the results replace them. The function under construction must have a parameter
    ``engine``. It returns the callback.
    """
    with source.block("def callback(env, caller, raw, count):"), caught(source, on_failure):
        yield
    source.line("return callback")


@contextmanager
def caught(source: Source, on_failure: str | None = None) -> Iterator[None]:
    """Put the lines added inside into the body of a callback."""
    source.line("store = engine.current")
    with source.block("try:"):
        yield
    with source.block("except BaseException as error:"):  # stored, and raised again by the driver
        if on_failure is not None:
            source.line(on_failure)
        source.line(f"return {source.use(fail)}(store, error)")
    source.line("return 0")


@contextmanager
def catching_err(source: Source, fallible: bool) -> Iterator[None]:
    """Wrap the lines added inside, which set ``value`` to a host function's result. ``fallible`` catches Err."""
    if not fallible:
        yield
        return
    with source.block("try:"):
        yield
    with source.block(f"except {source.use(Err)} as error:"):
        source.line("value = error.with_traceback(None)")


def suspend(source: Source, pending_slot: int) -> None:
    """Write the end of a callback that makes the guest leave its fiber through the adapter."""
    with source.block("if engine.nested:"):
        source.line(f'raise {source.use(Trap)}("cannot wait in realloc, post-return or a destructor")')
    source.line('store.flag[0] = b"\\0"')
    source.line(f"raw[{pending_slot}] = 1")
    source.line("return 0")


def _write_acting(source: Source) -> None:
    with callback(source):
        source.line("act(store, raw)")


_acting: Callable[..., Any] = write_function("host call: act", ("engine", "act"), _write_acting)


def acting(engine: Engine, act: Callable[[Store, Any], None]) -> Any:
    """Return a callback that calls ``act`` with the calling instance and its arguments. For rarely called functions."""
    return ffi.UncheckedCallback(_acting(engine, act))


# ---- canon lower -----------------------------------------------------------------------------------------


def _first_step(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    return coroutine.send(None)


_interruptible_first_step = interruptible(_first_step)


def _write_first_step(source: Source, call: str, waits: bool, interruptible: bool) -> None:
    """Write the call. It includes the first step of a coroutine, because most calls end with it."""
    source.line(f"value = {call}")
    if waits:
        with source.block(f"if type(value) is {source.constant(CoroutineType, 'CoroutineType')}:"):
            source.line("coroutine = value")
            with source.block("try:"):
                step = (
                    f"{source.use(_interruptible_first_step)}(coroutine)" if interruptible else "coroutine.send(None)"
                )
                source.line(f"trap = {step}")
            with source.block("except StopIteration as stop:"):
                source.line("value = stop.value")
                source.line("coroutine = None")
            with source.block(f"except {source.use(Err)}:"):
                source.line("coroutine = None")
                source.line("raise")


def _called(source: Source, callee: Callee | Method | Bound, arguments: list[str]) -> str:
    """Return the expression that calls a function with the variables ``arguments``."""
    match callee:
        case Method(name):
            receiver, *others = arguments
            return f"{receiver}.{name}({', '.join(others)})"
        case Bound(find):
            find_bound = source.constant(find, "find")
            return f"(store.root.bound.get(func) or {find_bound}(store))({', '.join(arguments)})"
        case _:
            return f"{source.constant(callee, 'callee')}({', '.join(['store', *arguments])})"


def _orphan(engine: Engine, coroutine: CoroutineType[Any, Any, Any]) -> None:
    engine.orphans.append((coroutine, trap_of(coroutine)))


def _give_back(lenders: Iterable[ResourceHandle]) -> None:
    for handle in lenders:
        handle.lends -= 1


def _finish(store: Store, raw: Any) -> None:
    """Lower the result of a host call that has ended its wait."""
    pending, store.pending = store.pending, None
    assert pending is not None, "the fiber goes on only once its host call is done"
    if pending.lenders:
        _give_back(pending.lenders)
    pending.lower(pending.context, raw, pending.return_pointer, pending.value)


def lower_trampoline(
    engine: Engine,
    lower: Lower,
    callee: Callee | Method | Bound,
    waits: bool,
    *,
    runs_guest: bool = False,
    interruptible: bool = False,
    typed: tuple[t.ValType, ...] | None = None,
) -> Trampoline:
    """Return the core function through which a guest calls ``callee`` (CanonicalABI.md, "canon lower").

    ``runs_guest`` means that it runs guest code and is not a host function. ``interruptible`` means that it is a user's
    host function. ``typed`` are the types of the parameters with Python classes.
    """
    func, options = lower.func, lower.options
    type_ = func.type
    types = tuple(type_ for _, type_ in type_.params)
    # Nothing else happens in an instance during a host call, so only the arguments of one call could conflict.
    lends = isinstance(func, Lifted) or abi.needs_lends(type_, waits=waits)
    params, results = abi.core_signature(type_, "lower", False, False)
    # The pointer for a result in memory follows the flat parameters.
    spills = len(params) > abi.flat_count(types, abi.MAX_FLAT_PARAMS)
    pointer = f"raw[{2 * (len(params) - 1)}]" if spills else "0"
    pending_slot = 2 * len(results)
    fallible = isinstance(type_.result, t.Result)

    def build(source: Source) -> None:
        source.namespace.update(engine=engine, func=func, options=options)
        mark = None if runs_guest else f"(func, store, {interruptible})"
        orphan = f"if coroutine is not None and coroutine.cr_suspended: {source.use(_orphan)}(engine, coroutine)"
        with caught(source, orphan if waits else None):
            if waits:
                source.line("coroutine = None")
            with source.block("if not store.may_leave:"):
                source.line(f'raise {source.use(Trap)}("cannot leave component instance")')
            source.line("cx = store.contexts.get(options)")
            with source.block("if cx is None:"):
                source.line("cx = store.context(options)")
            source.line("flats = raw")
            arguments = [source.temporary("a") for _ in types]
            if arguments:
                lifted = abi.write_lift(source, typed or types, options.encoding, abi.MAX_FLAT_PARAMS, 2, lends)
                source.line(f"{', '.join(arguments)}, = {lifted}")
            if lends:
                source.line("lenders = cx.lenders")
                with source.block("if lenders:"):
                    source.line("cx.lenders = []")
            call = _called(source, callee, arguments)
            with nullcontext() if mark is None else running(source, mark), catching_err(source, fallible):
                _write_first_step(source, call, waits, interruptible)
            if waits:
                later = abi.lower_results(
                    type_.result, options.encoding, stride=2, max_flat=abi.MAX_FLAT_RESULTS, instance_index=lower.part
                )
                with source.block("if coroutine is not None:"):
                    lower_later = source.constant(later, "later")
                    source.line(
                        f"store.pending = {source.use(Pending)}(coroutine, trap, {lower_later}, cx, {pointer}, "
                        f"{'lenders' if lends else '()'}, {fallible}, {mark})"
                    )
                    suspend(source, pending_slot)
            if lends:
                with source.block("if lenders:"):
                    source.line(f"{source.use(_give_back)}(lenders)")
            source.line(f"retptr = {pointer}")
            abi.write_results(source, type_.result, options.encoding, 2, abi.MAX_FLAT_RESULTS, lower.part)
            if waits:
                source.line(f"raw[{pending_slot}] = 0")

    def on_failure(error: BaseException) -> int:
        return fail(cast(Store, engine.current), error)

    start = lazy_function("host call", ("env", "caller", "raw", "count"), build, on_failure)
    return Trampoline(params, results, ffi.UncheckedCallback(start), acting(engine, _finish) if waits else None)


# ---- resources -------------------------------------------------------------------------------------------


def take_resource(store: Store, index: int, resource: t.ResourceType) -> Any:
    """Remove a handle that is being dropped. Return the rep if its resource must be destroyed, else None."""
    if not store.may_leave:
        raise Trap("cannot leave component instance")
    handles = store.handles
    handle = handles.resource(index, resource)
    if handle.lends:
        raise Trap(f"cannot remove owned resource while borrowed (handle index {index})")
    handles.entries[index] = None
    handles.free.append(index)
    if handle.own:
        return handle.rep
    assert handle.scope is not None
    handle.scope.borrows -= 1
    return None


_DROP = HostFunc("", "resource.drop", t.FuncType((("handle", t.U32),)))


def _write_dropping(source: Source) -> None:
    with callback(source):
        source.line(f"rep = {source.use(take_resource)}(store, raw[0] & {_MASK32}, resource)")
        source.line('on_drop = getattr(rep, "on_drop", None)')
        with source.block("if on_drop is not None:"), running(source, "(func, store, False)"):
            source.line("on_drop()")


#: Makes the callback that drops a host's resource.
_dropping: Callable[..., Any] = write_function("host call: drop", ("engine", "resource", "func"), _write_dropping)


def resource_trampoline(engine: Engine, builtin: ResourceBuiltin, destroy: Callee | None, waits: bool) -> Trampoline:
    """Return the function for ``resource.new``, ``resource.rep`` or ``resource.drop`` (CanonicalABI.md).

    ``destroy`` is the destructor of a guest's resource, if any. ``waits`` says whether it may wait.
    """
    resource = builtin.resource
    if builtin.name == "resource.new":

        def new(store: Store, raw: Any) -> None:
            if not store.may_leave:
                raise Trap("cannot leave component instance")
            raw[0] = store.handles.add(ResourceHandle(resource, raw[0] & _MASK32, own=True))

        return Trampoline(("i32",), ("i32",), acting(engine, new))
    if builtin.name == "resource.rep":

        def rep(store: Store, raw: Any) -> None:
            raw[0] = store.handles.resource(raw[0] & _MASK32, resource).rep

        return Trampoline(("i32",), ("i32",), acting(engine, rep))

    if resource.owner is None:
        return Trampoline(("i32",), (), ffi.UncheckedCallback(_dropping(engine, resource, _DROP)))
    if not waits:

        def drop(store: Store, raw: Any) -> None:
            rep = take_resource(store, raw[0] & _MASK32, resource)
            if rep is not None and destroy is not None:
                destroy(store, rep)

        return Trampoline(("i32",), (), acting(engine, drop))

    assert destroy is not None

    def drop_other(store: Store, index: int) -> Any:
        rep = take_resource(store, index, resource)
        return None if rep is None else destroy(store, rep)

    options = Options(StringEncoding.UTF8, None, None, None)
    return lower_trampoline(engine, Lower(builtin.part, _DROP, options), drop_other, waits=True, runs_guest=True)
