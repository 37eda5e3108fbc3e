"""Calls into components from the host or from another component of the same composition ("canon lift")."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

from wasi_trio.component import _types as t
from wasi_trio.component import abi
from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import BorrowScope
from wasi_trio.component._plan import CoreItem, Lifted, Options, Plan, ResourceBuiltin
from wasi_trio.runtime._fiber import call
from wasi_trio.runtime._store import Func, Store, end_of
from wasi_trio.runtime._trampolines import Callee


class Export:
    """A lifted function with its lifting and lowering code. One exists for each linked component."""

    __slots__ = (
        "borrows",
        "check",
        "core",
        "lift",
        "lower",
        "options",
        "params",
        "part",
        "post_return",
        "results",
        "type",
    )

    def __init__(self, lifted: Lifted, typed: t.ValType | None = None) -> None:
        """Create the function. ``typed`` is the type of the result with Python classes."""
        type_, options = lifted.type, lifted.options
        types = tuple(type_ for _, type_ in type_.params)
        result = () if type_.result is None else (typed or type_.result,)
        self.type = type_
        self.part = lifted.part
        self.core = lifted.core
        self.options: Options = options
        self.post_return = options.post_return
        self.params, self.results = abi.core_signature(type_, "lift", False, False)
        self.lower = abi.lower_values(types, options.encoding, abi.MAX_FLAT_PARAMS, instance_index=lifted.part)
        self.lift = abi.lift_values(result, options.encoding, abi.MAX_FLAT_RESULTS) if result else None
        #: Checks a host's arguments before they are lowered, unless None.
        self.check = abi.fit_arguments(types, lifted.part)
        self.borrows = any(t.contains(type_, t.Borrow) for type_ in types)


class Entry(NamedTuple):
    """An instance's part of an export."""

    context: Context
    core: Func
    post_return: Func | None


async def call_export(store: Store, export: Export, arguments: Sequence[Any], caller: Store | None = None) -> Any:
    """Call a component's function with component values and return its result ("canon lift").

    ``caller`` is the calling component of the composition, or None for the host. Raises Trap and any exception of a
    host function that the guest calls. Cancellation unwinds the guest's stack, and the instance cannot be used
    afterwards. An exception because of an argument leaves the instance as it is.
    """
    store.enter(caller)
    scope = None
    lowered = False
    try:
        context, core, post_return = store.entries.get(export) or _entry(store, export)
        if export.borrows:
            scope = context.scope = BorrowScope()
        flat = export.lower(context, arguments)
        lowered = True
        results = await call(store, core, flat)
        value = None if export.lift is None else export.lift(context, results)[0]
        if scope is not None and scope.borrows:
            raise Trap("borrow handles still remain at the end of the call")
        if post_return is not None:
            store.may_leave = False
            await call(store, post_return, results)
            store.may_leave = True
    except BaseException as error:
        # If an argument could not be lowered, the guest has not run yet. A failed realloc ends the instance.
        if lowered or isinstance(error, Trap):
            store.dead = store.dead or end_of(error)
        raise
    finally:
        store.leave()
    return value


def _entry(store: Store, export: Export) -> Entry:
    """Return this instance's part of an export, which is kept for further calls."""
    post_return = None if export.post_return is None else core_func(store, export.post_return, export.results, ())
    core = core_func(store, export.core, export.params, export.results)
    entry = store.entries[export] = Entry(store.context(export.options), core, post_return)
    return entry


def core_func(store: Store, item: CoreItem, params: Sequence[str], results: Sequence[str]) -> Func:
    """Return a core function of this instance, from a cache after the first use."""
    func = store.funcs.get(item)
    if func is None:
        func = store.funcs[item] = Func(store.item(item), params, results)
    return func


def destructor(plan: Plan, builtin: ResourceBuiltin) -> tuple[Callee | None, bool]:
    """Return the guest's function that ``resource.drop`` calls for an owned resource, and whether it may wait."""
    resource = builtin.resource
    if builtin.name != "resource.drop" or resource.owner is None:
        return None, False
    core = plan.destructors.get(resource)
    if core is None:
        return None, False
    if resource.owner == builtin.part:

        def drop_own(store: Store, rep: int) -> None:
            func = core_func(store, core, ("i32",), ())
            raw = (ctypes.c_uint64 * 2)()
            raw[0] = rep
            store.call_nested(func.func, raw, 1)

        return drop_own, False

    owner = resource.owner

    async def drop_other(store: Store, rep: int) -> None:
        other: Store = store.root.stores[owner]
        other.enter(store)
        try:
            await call(other, core_func(other, core, ("i32",), ()), [rep])
        finally:
            other.leave()

    return drop_other, True
