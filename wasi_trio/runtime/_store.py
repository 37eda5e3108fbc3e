"""A running component instance: its wasmtime store, and the state for host functions and the Canonical ABI."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from time import thread_time
from typing import Any

import trio

from wasi_trio._texts import get_logger, shown_lines
from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import HandleTable, ResourceHandle
from wasi_trio.component._plan import CoreExport, CoreItem, Options
from wasi_trio.component.concurrency._instance import MAX_DEPTH, SLICE, TOO_DEEP, ComponentInstance
from wasi_trio.component.concurrency._tasks import Interlude
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._containment import split
from wasi_trio.runtime._engine import Engine, Limits
from wasi_trio.runtime._host_calls import Pending, leave
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._memory import LinearMemory
from wasi_trio.runtime._run_queue import run_queue
from wasi_trio.runtime._streams import adopt

log = get_logger("wasi_trio")

_MASK32 = 0xFFFF_FFFF


#: Size in bytes of a table's element.
_TABLE_ELEMENT = 8


#: Minimum size in bytes of memory that is returned to the system in pieces, because that takes long.
LARGE = 128 << 20
#: Size in bytes of a piece.
_PIECE = 16 << 20


def _free(store: int, regions: list[tuple[int, int]]) -> None:
    """Free a store with much memory.

    Unmapping 1 GiB prevents all other threads of the process from mapping memory or touching it for the first time, for
    0.1 s. Memory that was first returned in pieces is unmapped quickly.
    """
    for start, size in regions:
        for offset in range(0, size, _PIECE):
            ffi.give_back(start + offset, min(_PIECE, size - offset))
    ffi.store_delete(store)


class _Measured:
    """The addresses of memories and tables for wasmtime's functions. ``instances`` is the number of core instances."""

    __slots__ = ("_externs", "instances", "memories", "tables")

    def __init__(self, instances: int = -1) -> None:
        self.instances = instances
        self.memories: list[int] = []
        self.tables: list[int] = []
        self._externs: list[Any] = []

    def keep(self, extern: ctypes.Array[ctypes.c_char]) -> int:
        self._externs.append(extern)
        return ctypes.addressof(extern) + ffi.PAYLOAD


class Func:
    """A core function of a store, ready to be called.

    The buffers for arguments and results are reused, because a store runs one call of a function at a time.
    """

    __slots__ = ("_taken", "arguments", "count", "func", "results", "returns")

    def __init__(self, extern: ctypes.Array[ctypes.c_char], params: Sequence[str], results: Sequence[str]) -> None:
        self.func = ctypes.create_string_buffer(extern.raw[ffi.PAYLOAD : ffi.PAYLOAD + ffi.FUNC_SIZE], ffi.FUNC_SIZE)
        self.count = len(params)
        self.returns = len(results)
        self.arguments = (ctypes.c_uint64 * max(1, 4 * len(params)))()
        for i, kind in enumerate(params):
            self.arguments[4 * i] = ffi.VAL_KINDS[kind]
        self.results = (ctypes.c_uint64 * max(1, 4 * len(results)))()
        #: The slot of each result, and the mask of its bits.
        self._taken = [(4 * i + 1, ffi.BITS[kind]) for i, kind in enumerate(results)]

    def take_results(self) -> list[int]:
        """Return the bits of the results of the call that has just ended."""
        if not self.returns:
            return []
        results = self.results
        return [results[slot] & mask for slot, mask in self._taken]


class Visit:
    """A call into a store from outside. ``by`` is the caller's, and ``before`` the earlier one into this store."""

    __slots__ = ("before", "by", "depth", "fiber")

    def __init__(self, by: Visit | None, before: Visit | None) -> None:
        self.by = by
        self.before = before
        #: The number of other components of the composition that wait for this call.
        self.depth: int = 0 if by is None else by.depth + 1
        #: The ``Fiber`` on which the guest runs.
        self.fiber: Any = None

    def is_part_of(self, other: Visit) -> bool:
        """Return whether this is ``other``, or a call that was made in it."""
        visit: Visit | None = self
        while visit is not None:
            if visit is other:
                return True
            visit = visit.by
        return False


class Store(ComponentInstance):
    """One component instance with its own wasmtime store.

    ``core`` are the core instances by slot. ``funcs`` are the core functions called so far, and ``entries`` what calls
    of exports need (``runtime._calls.Entry``). ``root`` is the ``Instance`` that contains this store.

    A store that trapped, or whose call was cancelled before its end, is ``dead`` and cannot be entered again.
    ``visit`` is the innermost call in progress. In WASI 0.2, only components that call each other recursively cause
    several. ``runtime._fiber`` runs guest code.
    """

    __slots__ = (
        "_bounded_from",
        "_bounded_since",
        "_measured",
        "_memories",
        "_nested_since",
        "adapter",
        "answer",
        "context_pointer",
        "core",
        "dead",
        "engine",
        "entries",
        "error",
        "error_out",
        "failure",
        "flag",
        "flag_address",
        "funcs",
        "limits",
        "measured_tick",
        "memory_size",
        "pending",
        "pointer",
        "poll_tick",
        "queue",
        "root",
        "trap",
        "trap_out",
        "until",
        "visit",
    )

    def __init__(self, engine: Engine, limits: Limits, index: int, root: Any) -> None:
        super().__init__(index, HandleTable(limits.handles, root.account), None)
        self.max_calls = limits.calls
        self.engine = engine
        self.limits = limits
        self.root = root
        self.dead: str | None = None
        self.failure: BaseException | None = None
        self.pending: Pending | None = None
        #: The request of a built-in that has just suspended the fiber, and the answer for one that continues (WASI
        #: 0.3).
        self.until: Any = None
        self.answer: Any = None
        self.core: dict[int, ffi.InstanceStruct] = {}
        self.funcs: dict[Any, Func] = {}
        self.entries: dict[Any, Any] = {}
        self.adapter: ffi.InstanceStruct | None = None
        self.flag = ctypes.create_string_buffer(b"\1", 2)
        self.flag_address = ctypes.addressof(self.flag)
        self.poll_tick = 0
        self.queue = run_queue()
        self._nested_since = 0.0
        self._bounded_since = -1.0
        self._bounded_from = 0.0
        self.visit: Visit | None = None
        self._memories: dict[Any, LinearMemory] = {}
        #: The memories and tables to measure.
        self._measured = _Measured()
        #: Their size in bytes at the last measurement, and its tick.
        self.memory_size = 0
        self.measured_tick = engine.ticker.ticks
        self.trap = ctypes.c_void_p()
        self.error = ctypes.c_void_p()
        #: Pointers to wasmtime's outcome of a failed call, which is set at once or at the end of its future.
        self.trap_out = ctypes.byref(self.trap)
        self.error_out = ctypes.byref(self.error)
        self.pointer: int | None = ffi.store_new(engine.pointer, None, None)
        self.context_pointer: int = ffi.store_context(self.pointer)
        ffi.store_limiter(
            self.pointer,
            min(limits.memory, limits.instance_memory),
            limits.table_elements,
            limits.instances,
            limits.tables,
            limits.memories,
        )
        ffi.store_epoch_deadline_callback(self.pointer, engine.epoch_callback, None, None)
        ffi.context_set_epoch_deadline(self.context_pointer, 1)

    def unwind(self) -> None:
        """Unwind the stacks of suspended calls, which end with a Trap when their tasks continue."""
        visit = self.visit if self.engine.current is None else None
        while visit is not None:
            if visit.fiber is not None:
                visit.fiber.drop()
            visit = visit.before

    @uninterrupted
    def close(self) -> Callable[[], None] | None:
        """Close the windows on memory. The store must not be used afterwards.

        Return a function that frees the store, or None if it is free. Freeing much memory takes long. Any thread can
        call the function.
        """
        if self.pointer is None:
            return None
        regions = self._regions() if self.memory_size > LARGE else []
        self.dead = self.dead or "the instance is closed"
        for memory in self._memories.values():
            memory.close()
        pointer, self.pointer = self.pointer, None
        return functools.partial(_free, pointer, regions) if regions else functools.partial(ffi.store_delete, pointer)

    def _regions(self) -> list[tuple[int, int]]:
        """Return the addresses and sizes of the memories."""
        context = self.context_pointer
        pointers = self._measured.memories
        return [(ffi.memory_data(context, memory) or 0, ffi.memory_data_size(context, memory)) for memory in pointers]

    def drop_resources(self) -> Iterator[None]:
        """Call ``on_drop`` of the host resources that the guest still owns, because it has ended.

        Yields at intervals at which other tasks should get a turn.
        """
        entries, self.handles.entries = self.handles.entries, [None]
        for number, handle in enumerate(entries):
            entries[number] = None
            if isinstance(handle, ResourceHandle) and handle.own and handle.resource.owner is None:
                try:
                    on_drop = getattr(handle.rep, "on_drop", None)
                    if on_drop is not None:
                        on_drop()
                except BaseException as error:  # the other resources must be notified, and the instance freed
                    failure, passing = split(error)
                    log.error("Cannot drop a resource at the end of its instance", exc_info=failure)
                    if passing is not None:
                        raise passing from None
            if number % SLICE == SLICE - 1:
                yield

    # ---- entering the guest ------------------------------------------------------------------------------

    def enter(self, caller: Store | None) -> None:
        """Begin a call by ``caller``, or by the host if None. ``leave`` ends it. Raises Trap if that is not possible.

        During a call, only the components that it has called may enter again.
        """
        if self.dead is not None:
            raise Trap(f"cannot enter component instance: {self.dead}")
        before = self.visit
        by = None if caller is None else caller.visit
        if before is not None and (by is None or not by.is_part_of(before)):
            raise Trap("cannot enter component instance: a call into it is in progress")
        visit = Visit(by, before)
        if visit.depth > MAX_DEPTH:
            raise Trap(TOO_DEEP)
        self.visit = visit

    def leave(self) -> None:
        """End the innermost call."""
        assert self.visit is not None
        self.visit = self.visit.before

    @uninterrupted
    def call_nested(self, func: Any, raw: Any, count: int) -> None:
        """Call a core function from inside a host function. ``raw`` holds the arguments, then the results.

        In WASI 0.3 it is a separate task.

        Such a call cannot be suspended, because Python frames are below it. So a guest traps if it waits in the call,
        or if it computes for longer than ``limits.nested_seconds``.
        """
        engine = self.engine
        caller = engine.host_call
        if caller is not None:
            leave(engine)
        ticker = engine.ticker
        ticker.runs += 1
        outer, nested, running = engine.current, engine.nested, ticker.running
        engine.current, engine.nested, ticker.running = self, True, True
        if ticker.asleep:
            ticker.wake()
        if not nested:
            self._nested_since = ticker.ticked
        task = self.task
        if self.scheduler is not None:
            self.task = Interlude(task)  # type: ignore[assignment]
        try:
            error = ffi.func_call_unchecked(self.context_pointer, func, raw, count, self.trap_out)
        finally:
            self.task = task
            engine.host_call = caller
            engine.current, engine.nested, ticker.running = outer, nested, running
        if error or self.trap:
            self.error.value = error
            self.raise_failure()

    def raise_failure(self) -> None:
        """Raise the reason for the end of the guest's call: a host function's exception unchanged, otherwise a Trap."""
        message = "the guest trapped"
        if self.trap.value:
            message = ffi.take_trap(self.trap.value)
        if self.error.value:
            message = ffi.take_error(self.error.value)
        self.trap.value = self.error.value = None
        failure, self.failure = self.failure, None
        if failure is not None:
            self.dead = self.dead or end_of(failure)
            raise failure
        trap = Trap(shown_lines(readable(message), indent=""))
        self.dead = self.dead or end_of(trap)
        raise trap

    def epoch(self) -> str | None:
        """Decide at an epoch tick: None to continue, "" to yield, or the message of a trap."""
        engine = self.engine
        if self.measured_tick != engine.ticker.ticks:
            for store in self.root.stores:  # includes the growth of the composition's other components
                if store is not None:
                    store.measure()
            excess = self.handles.account.excess
            if excess is not None:
                return excess
        if engine.nested:
            what = "a call from the host that cannot be suspended"
            return self._bounded(self._nested_since, self.limits.nested_seconds, what)
        if engine.non_preemptible_since is not None:
            what = "an asynchronous call from another component"
            return self._bounded(engine.non_preemptible_since, self.limits.non_preemptible_seconds, what)
        if engine.ticker.ticks - self.poll_tick < 1:
            return None
        return ""

    def _bounded(self, since: float, limit: float, what: str) -> str | None:
        """Let a call that blocks the loop continue, unless it has taken too long or its request's deadline has passed.

        ``since`` identifies the call by its start. Processor time counts, from the first tick in the call, because
        other programs of the machine may use the elapsed time.
        """
        now = thread_time()
        if self._bounded_since != since:
            self._bounded_since, self._bounded_from = since, now
        spun = now - self._bounded_from
        if spun > limit:
            return f"{what} ran for {spun:.2f} s of processor time"
        expired = self.root.expired
        if expired is not None and expired():
            return f"{what} ran past the deadline of its request"
        return None

    # ---- its memory --------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Count the current size of the memories and tables.

        wasmtime does not report growth. So this is called at each tick during which the guest runs, and when it stops
        if a tick has passed since the last call.
        """
        self.measured_tick = self.engine.ticker.ticks
        measured = self._measured
        if measured.instances != len(self.core):
            measured = self._measured = self._to_measure()
        context = self.context_pointer
        size = sum([ffi.memory_data_size(context, pointer) for pointer in measured.memories])
        size += _TABLE_ELEMENT * sum([ffi.table_size(context, pointer) for pointer in measured.tables])
        if size != self.memory_size:
            self.handles.account.grown(size - self.memory_size)
            self.memory_size = size

    def _to_measure(self) -> _Measured:
        found = _Measured(len(self.core))
        for step in self.root.linked.steps:
            if step.part == self.index and step.slot in self.core:
                for name in step.memories:
                    found.memories.append(found.keep(self.extern(step.slot, name)))
                for name in step.tables:
                    found.tables.append(found.keep(self.extern(step.slot, name)))
        return found

    # ---- what host functions and the Canonical ABI need --------------------------------------------------

    def extern(self, slot: int, name: bytes) -> ctypes.Array[ctypes.c_char]:
        """Return the export ``name`` of core instance ``slot``, which linking has checked."""
        extern = ctypes.create_string_buffer(ffi.EXTERN_SIZE)
        if not ffi.instance_export_get(self.context_pointer, ctypes.byref(self.core[slot]), name, len(name), extern):
            raise Trap(f"core instance has no export {name.decode()!r}")
        return extern

    def item(self, item: CoreItem) -> ctypes.Array[ctypes.c_char]:
        """Return this store's extern for a core item of the plan."""
        if isinstance(item, CoreExport):
            return self.extern(item.slot, item.name.encode())
        return self.adapted(item.index)

    def adapted(self, canon: int) -> ctypes.Array[ctypes.c_char]:
        """Return the function through which this instance calls an import that may wait."""
        assert self.adapter is not None
        extern = ctypes.create_string_buffer(ffi.EXTERN_SIZE)
        name, length = ctypes.c_void_p(), ctypes.c_size_t()
        found = ffi.instance_export_nth(
            self.context_pointer,
            ctypes.byref(self.adapter),
            self.root.linked.adapters[self.index].position[canon],
            ctypes.byref(name),
            ctypes.byref(length),
            extern,
        )
        assert found
        return extern

    def new_context(self, options: Options) -> Context:
        memory = None if options.memory is None else self.memory(options.memory)
        realloc = None if options.realloc is None else self.realloc(options.realloc)
        context = Context(self.handles, memory, realloc, self, self.limits.call_data)
        if options.adopts:
            context.adopt = adopt
        return context

    def memory(self, item: CoreItem) -> LinearMemory:
        memory = self._memories.get(item)
        if memory is None:
            memory = self._memories[item] = LinearMemory(self.context_pointer, self.item(item))
        return memory

    def realloc(self, item: CoreItem) -> Callable[[int, int, int, int], int]:
        """Return the guest's ``realloc``. The guest must not make calls during it."""
        extern = self.item(item)
        held = ctypes.create_string_buffer(extern.raw[ffi.PAYLOAD : ffi.PAYLOAD + ffi.FUNC_SIZE], ffi.FUNC_SIZE)
        return functools.partial(self._realloc, held, (ctypes.c_uint64 * 8)())

    def _realloc(self, func: Any, raw: Any, old: int, old_size: int, alignment: int, size: int) -> int:
        raw[0], raw[2], raw[4], raw[6] = old, old_size, alignment, size
        self.may_leave = False
        self.call_nested(func, raw, 4)
        self.may_leave = True
        return int(raw[0]) & _MASK32


def end_of(error: BaseException) -> str:
    """Return the reason that later callers of an instance get for its end by an exception."""
    if isinstance(error, trio.Cancelled):
        return "a call into it was cancelled"
    text = str(error).split("\n", 1)[0]
    if isinstance(error, Trap):
        return f"it trapped: {text}"
    return f"it failed: {type(error).__name__}: {text}" if text else f"it failed: {type(error).__name__}"


def readable(message: str) -> str:
    """Return wasmtime's report with the cause on the first line and the wasm backtrace below it."""
    head, separator, tail = message.partition("\n\nCaused by:\n")
    if not separator:
        return message
    causes = [line.strip() for line in tail.splitlines() if line.strip()]
    causes = [line.split(": ", 1)[1] if line[:1].isdigit() and ": " in line else line for line in causes]
    return "\n".join([": ".join(causes), *head.splitlines()])
