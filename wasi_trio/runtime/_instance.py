"""Instances of a linked component."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import trio

from wasi_trio.component._account import Account
from wasi_trio.component._errors import HostError, LinkError, Trap
from wasi_trio.component._imports import Provider
from wasi_trio.component._types import Future, Own, Stream, contains
from wasi_trio.component._values import Err, GuestResource, Ok
from wasi_trio.component._wiring import CANON
from wasi_trio.component.concurrency._copying import Shared
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._calls import Export, call_export
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._core_linking import CoreStep
from wasi_trio.runtime._engine import Limits
from wasi_trio.runtime._fiber import Meter, instantiate
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.runtime._pump import Call, Pump
from wasi_trio.runtime._register import REGISTER
from wasi_trio.runtime._store import LARGE, Store
from wasi_trio.runtime._streams import FutureReader, StreamReader, discard

_DEFAULT_LIMITS = Limits()
#: The types whose values somebody must drop.
_HELD = (Own, Stream, Future)
#: The reason why a closed instance cannot be entered.
CLOSED = "the instance is closed"


class Instance:
    """One instance of a component, with all its state.

    ``wasi_trio.open_instance`` makes one, runs its pump and closes it. It builds on ``Instance.instantiate``, after
    which ``close`` must be called in the end to free the instance.
    ``context`` is the argument with which per-instance host interfaces are constructed. Only one call at a time may be
    in progress, unless the component is concurrent (WASI 0.3). In that case a task must run ``pump.run()``.
    """

    __slots__ = (
        "_expected",
        "account",
        "bound",
        "closed",
        "context",
        "expired",
        "failure",
        "hosts",
        "limits",
        "linked",
        "meter",
        "on_suspended",
        "profile",
        "pump",
        "register",
        "stores",
    )

    def __init__(self, linked: LinkedComponent, context: Any = None, limits: Limits = _DEFAULT_LIMITS) -> None:
        self.linked = linked
        self.context = context
        self.limits = limits
        #: The host memory that it occupies. Starts with the expected use, an average of earlier instances.
        self.account = Account(limits.instance_memory, linked.engine.budget)
        self._expected = linked.instance_size
        self.account.grown(self._expected)
        self.stores: list[Store | None] = [None] * linked.plan.parts
        self.pump: Pump | None = None
        #: The exception that ended the instance, as the cause for later calls. It goes when the instance is closed.
        self.failure: Exception | None = None
        self.closed = False
        #: Returns whether the instance's work has missed its deadline, which allows interrupting a call that blocks.
        self.expired: Callable[[], bool] | None = None
        #: Counts the processor time of its calls.
        self.meter: Meter | None = None
        #: Called once when a call is suspended (WASI 0.2).
        self.on_suspended: Callable[[], None] | None = None
        profiler = linked.engine.profiler
        #: The profile of the instance, if guests are profiled.
        self.profile = None if profiler is None else profiler.begin(linked)
        #: The register that learns of its end.
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
        """Instantiate all core modules of a component and run their start functions.

        Raises Trap. This is a checkpoint only if a start function waits or computes for a long time. Cancellation or
        failure frees everything.
        """
        instance = cls(linked, context, limits)
        instance.meter = meter
        if linked.concurrent:
            nursery = getattr(context, "nursery", None)
            if nursery is None:
                raise RuntimeError("an instance of WASI 0.3 requires a context with a nursery: use open_instance")
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
        """Call an exported function: ``call("run")``, or ``call("acme:kv/store", "get", "key")`` for an interface.

        Raises LinkError if the component does not export it, HostError if an argument does not fit its type, Trap, and
        any exception of a host function. An argument that does not fit leaves the instance as it was. Calls of an
        instance that has failed raise Trap, whose ``__cause__`` is the first failure.
        """
        export = self.linked.find_export(name, function)
        if export is None:
            wanted = name if function is None else f"{name} {function}"
            raise LinkError(f"the component does not export {wanted}", missing=(wanted,))
        return await self.call_export(export, arguments)

    async def call_export(self, export: Export | LiftedFunction, arguments: Sequence[Any]) -> Any:
        """Call an export from ``LinkedComponent.find_export``."""
        if isinstance(export, LiftedFunction):
            return await self._call_concurrently(export, arguments)
        store = self.stores[export.part]
        if store is None or store.dead is not None:
            raise self._ended() from self.failure
        if export.check is not None:
            export.check(arguments)
        try:
            return await call_export(store, export, arguments)
        except Exception as error:
            if self.dead is not None:
                self.failure = self.failure or error
            raise

    async def drop(self, resource: GuestResource) -> None:
        """Drop a resource that the component implements and the host owns, and run its destructor.

        ``resource`` cannot be used afterwards. Raises HostError if that is already so, Trap, and any exception of a
        host function that the destructor calls. With WASI 0.3, cancellation ends only the wait: the destructor still
        runs.
        """
        rep, resource.rep = resource.rep, None
        if rep is None:
            raise HostError(f"{resource.resource.name} cannot be dropped: it was transferred or dropped earlier")
        destructor = self.linked.destructor(resource.resource)
        if isinstance(destructor, LiftedFunction):
            await self._destroy_concurrently(destructor, rep)
        elif destructor is not None:
            await self.call_export(destructor, (rep,))

    async def _call_concurrently(self, function: LiftedFunction, arguments: Sequence[Any]) -> Any:
        pump = self._open_pump()
        await trio.lowlevel.checkpoint_if_cancelled()
        done = trio.Event()
        call = pump.call(function, arguments, done.set, ORIGIN.get())
        try:
            await done.wait()
        except trio.Cancelled:
            if contains(function.type.result, _HELD):
                call.on_done = partial(self._release, call)
            call.cancel()
            raise
        return _outcome(call)

    def _release(self, call: Call) -> None:
        """Drop the streams, futures and resources in the result of a cancelled call that has returned after all."""
        pending, pump = [call.outcome], self.pump
        while pending:
            value = pending.pop()
            match value:
                case GuestResource():
                    rep, value.rep = value.rep, None
                    destructor = self.linked.destructor(value.resource)
                    if isinstance(destructor, LiftedFunction) and pump is not None and rep is not None:
                        pump.call(destructor, (rep,), _nothing)
                case StreamReader() | FutureReader() | Shared():
                    discard(value)
                case tuple() | list():
                    pending += value
                case dict():
                    pending += [*value, *value.values()]
                case Ok(inner) | Err(inner):
                    pending.append(inner)

    async def _destroy_concurrently(self, destructor: LiftedFunction, rep: int) -> None:
        """Run a destructor, which ends even if the caller is cancelled."""
        done = trio.Event()
        call = self._open_pump().call(destructor, (rep,), done.set, ORIGIN.get())
        await done.wait()
        _outcome(call)

    def _open_pump(self) -> Pump:
        """Return the pump. Raises Trap if the instance cannot be entered."""
        pump = self.pump
        if pump is None or pump.failure is not None or self.dead is not None:
            if pump is not None and isinstance(pump.failure, Exception):
                self.failure = pump.failure
            raise self._ended() from self.failure
        return pump

    def _ended(self) -> Trap:
        return Trap(f"cannot enter component instance: {self.dead}")

    @property
    def dead(self) -> str | None:
        """The reason why the instance cannot be entered, or None."""
        if self.closed:
            return CLOSED
        for store in self.stores:
            if store is not None and store.dead:
                return store.dead
        return None

    @property
    def memory_size(self) -> int:
        """The size in bytes of its memories and tables when they were last measured."""
        return sum([store.memory_size for store in self.stores if store is not None])

    def note_suspension(self) -> None:
        """Call ``on_suspended``, which is set."""
        on_suspended, self.on_suspended = self.on_suspended, None
        assert on_suspended is not None
        on_suspended()

    def retire(self, reason: str) -> None:
        """Prevent all further calls into the instance."""
        for store in self.stores:
            if store is not None:
                store.dead = store.dead or reason

    def host_object(self, provider: Provider) -> Any:
        """Return this instance's object of a host interface."""
        host = self.hosts.get(provider)
        if host is None:
            host = self.hosts[provider] = provider.make(self.context)
        return host

    @uninterrupted
    def close(self) -> None:
        """Free the instance's stacks and stores, and drop the host resources that the guest still holds.

        The other ends of its streams and futures learn that it has ended. In an event loop, ``aclose`` is preferable.
        """
        for free in self._dismantle():
            if free is not None:
                free()

    @uninterrupted
    async def aclose(self) -> None:
        """Do the same as ``close``, with checkpoints during long work. Cannot be cancelled."""
        for free in self._dismantle():
            with trio.CancelScope(shield=True):
                if free is None:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.to_thread.run_sync(free)

    def _dismantle(self) -> Iterator[Callable[[], None] | None]:
        """Take the steps of ``close``. Yield functions that any thread may run, and None for a checkpoint."""
        if self.register is not None and not self.closed:
            self.register.ending(self)
        self.retire(CLOSED)
        stores = [store for store in self.stores if store is not None]
        for store in stores:
            store.unwind()
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
            store.entries.clear()
        if self.profile is not None:
            self.profile.end()
        if not self.closed and not self._expected:
            self.linked.note_size(self.account.used)
        self.account.close()
        # Breaking the references between the remaining objects frees them now instead of in a garbage collection.
        self.closed = True
        if self.register is not None:
            self.register.closed(self)
        self.stores = [None] * len(self.stores)
        self.pump = self.expired = self.on_suspended = self.failure = None
        self.hosts.clear()
        self.bound.clear()

    def _stop_expecting(self) -> None:
        """Count the actual memory in place of the expected memory. Raises Trap beyond the limit."""
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
        """Return the linker of a component instance, which exists while its core modules are instantiated."""
        linker = linkers.get(store.index)
        if linker is None:
            linker = linkers[store.index] = ffi.linker_clone(self.linked.linkers[store.index].pointer)
            if store.adapter is not None:
                _define(linker, store, CANON.encode(), store.adapter)
        return linker

    async def _new_store(self, part: int) -> Store:
        store = Store(self.linked.engine, self.limits, part, self)
        store.scheduler = self.pump  # type: ignore[assignment]
        self.stores[part] = store  # from here on, close() frees it
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


def _nothing() -> None:
    pass


def _outcome(call: Call) -> Any:
    """Return the result of a call that has ended, or raise its failure."""
    if call.failure is not None:
        raise call.failure
    return call.outcome


def _define(linker: int, store: Store, name: bytes, instance: ffi.InstanceStruct) -> None:
    """Put all exports of a core instance into a linker."""
    error = ffi.linker_define_instance(linker, store.context_pointer, name, len(name), ctypes.byref(instance))
    if error:
        raise LinkError(ffi.take_error(error))
