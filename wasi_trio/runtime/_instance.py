"""Instances of a linked component."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import trio

from wasi_trio.component._account import Account
from wasi_trio.component._errors import HostError, LinkError, Trap
from wasi_trio.component._imports import Provider
from wasi_trio.component._relink import CANON
from wasi_trio.component._values import GuestResource
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._calls import Export, call_export
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._core_linking import CoreStep
from wasi_trio.runtime._engine import Limits
from wasi_trio.runtime._fiber import Meter, instantiate
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.runtime._pump import Pump
from wasi_trio.runtime._register import REGISTER
from wasi_trio.runtime._store import LARGE, Store

_DEFAULT_LIMITS = Limits()
#: why an instance that was closed cannot be entered
CLOSED = "the instance is closed"


class Instance:
    """One instance of a component and all that belongs to it alone.

    Made by ``await Instance.instantiate(linked, context)``; ``close`` frees it, and is to be called however that
    ended. ``context`` is what per-instance host interfaces are constructed with. One call at a time may be in
    progress, unless the component is concurrent (WASI 0.3): then a task has to run ``pump.run()`` meanwhile.
    """

    __slots__ = (
        "_expected",
        "account",
        "bound",
        "closed",
        "context",
        "expired",
        "hosts",
        "limits",
        "linked",
        "meter",
        "profile",
        "pump",
        "register",
        "stores",
    )

    def __init__(self, linked: LinkedComponent, context: Any = None, limits: Limits = _DEFAULT_LIMITS) -> None:
        self.linked = linked
        self.context = context
        self.limits = limits
        #: what it makes the host hold; at first what one like it is expected to
        self.account = Account(limits.instance_memory, linked.engine.budget)
        self._expected = linked.instance_size
        self.account.grown(self._expected)
        self.stores: list[Store | None] = [None] * linked.plan.parts
        self.pump: Pump | None = None
        self.closed = False
        #: says whether the instance's work has missed its deadline, so that a call that holds up the loop may be ended
        self.expired: Callable[[], bool] | None = None
        #: counts the processor time that its calls use
        self.meter: Meter | None = None
        profiler = linked.engine.profiler
        #: what is sampled of it, where guests are profiled
        self.profile = None if profiler is None else profiler.begin(linked)
        #: who wants to know of its end
        self.register = REGISTER.get()
        if self.register is not None:
            self.register.opened(self, f"an instance of {linked.name or 'a component'}")
        self.hosts: dict[Provider, Any] = {}
        self.bound: dict[Any, Any] = {}

    @classmethod
    @uninterrupted
    async def instantiate(
        cls,
        linked: LinkedComponent,
        context: Any = None,
        limits: Limits = _DEFAULT_LIMITS,
        meter: Meter | None = None,
    ) -> Instance:
        """Instantiate all core modules of a component, running their start functions.

        Raises Trap. A checkpoint only if a start function waits or computes for long. When cancelled or failed,
        nothing is left behind.
        """
        instance = cls(linked, context, limits)
        instance.meter = meter
        if linked.concurrent:
            nursery = getattr(context, "nursery", None)
            if nursery is None:
                raise RuntimeError("an instance of a WASI 0.3 component needs a context with a nursery")
            instance.pump = Pump(instance, nursery)
        try:
            linkers: dict[int, int] = {}
            try:
                for step in linked.steps:
                    await instance._take(step, linkers)
            finally:
                for linker in linkers.values():
                    ffi.linker_delete(linker)
            for part in linked.without_modules:
                await instance._new_store(part)
            instance._stop_expecting()
        except BaseException:
            await instance.aclose()
            raise
        return instance

    async def call(self, name: str, function: str | None = None, *arguments: Any) -> Any:
        """Call an exported function: ``call("run")``, or ``call("acme:kv/store", "get", "key")`` in an interface.

        Raises LinkError if there is none such, Trap, and what host functions raise.
        """
        export = self.linked.find_export(name, function)
        if export is None:
            wanted = name if function is None else f"{name} {function}"
            raise LinkError(f"the component does not export {wanted}", missing=(wanted,))
        return await self.call_export(export, arguments)

    async def call_export(self, export: Export | LiftedFunction, arguments: Sequence[Any]) -> Any:
        """Call an export found before with ``LinkedComponent.find_export``."""
        if isinstance(export, LiftedFunction):
            return await self._call_concurrently(export, arguments)
        store = self.stores[export.part]
        if store is None:
            raise Trap(f"cannot enter component instance: {self.dead}")
        store.depth = 0
        return await call_export(store, export, arguments)

    async def drop(self, resource: GuestResource) -> None:
        """Drop a resource that the component implements and that the host owns: its destructor runs.

        ``resource`` stands for nothing from then on. Raises HostError if it did already, Trap, and what host functions
        raise that the destructor calls.
        """
        rep, resource.rep = resource.rep, None
        if rep is None:
            raise HostError(f"{resource.resource.name} cannot be dropped: it was given away or dropped before")
        destructor = self.linked.destructor(resource.resource)
        if destructor is not None:
            await self.call_export(destructor, (rep,))

    async def _call_concurrently(self, function: LiftedFunction, arguments: Sequence[Any]) -> Any:
        pump = self.pump
        if pump is None or pump.failure is not None or self.dead is not None:
            raise Trap(f"cannot enter component instance: {self.dead}")
        done = trio.Event()
        call = pump.call(function, arguments, done.set, ORIGIN.get())
        try:
            await done.wait()
        except trio.Cancelled:
            call.cancel()
            raise
        if call.failure is not None:
            raise call.failure
        return call.outcome

    @property
    def dead(self) -> str | None:
        """Why the instance cannot be entered any more, or None."""
        if self.closed:
            return CLOSED
        return next((store.dead for store in self.stores if store is not None and store.dead), None)

    def retire(self, reason: str) -> None:
        """Let no call into the instance any more."""
        for store in self.stores:
            if store is not None:
                store.dead = store.dead or reason

    def host_object(self, provider: Provider) -> Any:
        """This instance's object of a host interface."""
        host = self.hosts.get(provider)
        if host is None:
            host = self.hosts[provider] = provider.make(self.context)
        return host

    @uninterrupted
    def close(self) -> None:
        """Free its stores, after what is left of its stacks, and drop what host resources the guest still holds.

        The other ends of its streams and futures find that it is gone. Where a loop runs, ``aclose`` is better.
        """
        for free in self._dismantle():
            if free is not None:
                free()

    @uninterrupted
    async def aclose(self) -> None:
        """``close`` it, with turns for other tasks where there is much to do. Cannot be cancelled."""
        for free in self._dismantle():
            with trio.CancelScope(shield=True):
                if free is None:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.to_thread.run_sync(free)

    def _dismantle(self) -> Iterator[Callable[[], None] | None]:
        """The steps of ``close``. Yields what any thread may do, and None where others should have a turn."""
        if self.register is not None and not self.closed:
            self.register.ending(self)
        self.retire(CLOSED)
        stores = [store for store in self.stores if store is not None]
        if self.pump is not None:
            self.pump.drop_fibers()
            for store in stores:
                yield from store.abandon()
        for store in stores:
            large = store.memory_size > LARGE
            free = store.close()
            if free is not None and large:
                yield free
            elif free is not None:
                free()
        for store in stores:
            yield from store.drop_resources()
            store.contexts.clear()
        if self.profile is not None:
            self.profile.end()
        if not self.closed and not self._expected:
            self.linked.note_size(self.account.used)
        self.account.close()
        # What is left refers to one another no more, and is freed now and not when garbage is collected.
        self.closed = True
        if self.register is not None:
            self.register.closed(self)
        self.stores = [None] * len(self.stores)
        self.pump = self.expired = None
        self.hosts.clear()
        self.bound.clear()

    def _stop_expecting(self) -> None:
        """Count what it has, instead of what was expected."""
        self.account.grown(-self._expected)
        self._expected = 0
        excess = self.account.excess
        if excess is not None:
            raise Trap(excess)

    async def _take(self, step: CoreStep, linkers: dict[int, int]) -> None:
        store = self.stores[step.part]
        if store is None:
            store = await self._new_store(step.part)
        instance = ffi.InstanceStruct()
        if step.pre is not None:
            await instantiate(
                store,
                lambda trap, error: ffi.instance_pre_instantiate_async(
                    step.pre, store.context_pointer, ctypes.byref(instance), trap, error
                ),
            )
        else:
            linker = self._linker(store, linkers)
            await instantiate(
                store,
                lambda trap, error: ffi.linker_instantiate_async(
                    linker, store.context_pointer, step.module_pointer, ctypes.byref(instance), trap, error
                ),
            )
        store.core[step.slot] = instance
        store.memory_size += step.memory_size
        self.account.grown(step.memory_size)
        if step.imported:
            _define(self._linker(store, linkers), store, step.name, instance)

    def _linker(self, store: Store, linkers: dict[int, int]) -> int:
        """The linker of an instance of a component, while its core modules are instantiated."""
        linker = linkers.get(store.index)
        if linker is None:
            linker = linkers[store.index] = ffi.linker_clone(self.linked.linkers[store.index].pointer)
            if store.adapter is not None:
                _define(linker, store, CANON.encode(), store.adapter)
        return linker

    def _parent(self, part: int) -> Store | None:
        """The store of the nearest component around this one that has one; the re-entrance rules go by it."""
        parent = self.linked.plan.parents[part]
        while parent is not None:
            store = self.stores[parent]
            if store is not None:
                return store
            parent = self.linked.plan.parents[parent]
        return None

    async def _new_store(self, part: int) -> Store:
        parent = self._parent(part)
        store = Store(self.linked.engine, self.limits, part, self, parent)
        store.scheduler = self.pump  # type: ignore[assignment]
        self.stores[part] = store  # from here on close() frees it
        if self.linked.plan.parts > 1:
            for other in self.stores:  # an inner component may have got its store before the one around it
                if other is not None:
                    other.parent = self._parent(other.index)
        adapter = self.linked.adapters[part]
        if adapter is not None:
            instance = ffi.InstanceStruct()
            await instantiate(
                store,
                lambda trap, error: ffi.instance_pre_instantiate_async(
                    adapter.pre, store.context_pointer, ctypes.byref(instance), trap, error
                ),
            )
            store.adapter = instance
        return store


def _define(linker: int, store: Store, name: bytes, instance: ffi.InstanceStruct) -> None:
    """Put all that a core instance exports into a linker."""
    error = ffi.linker_define_instance(linker, store.context_pointer, name, len(name), ctypes.byref(instance))
    if error:
        raise LinkError(ffi.take_error(error))
