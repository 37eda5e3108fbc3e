"""Guests without wasm: core functions are Python functions, and a small scheduler runs their threads.

A core function is called with its instance and arguments. A core function that may wait is a generator, which calls
built-ins with ``yield from guest.do(...)``. Plain functions call them with ``guest.call(...)``, which fails if a
built-in would wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any

from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import HandleTable
from wasi_trio.component._plan import AsyncBuiltin, CoreExport, HostFunc, Lifted, Lower, Options
from wasi_trio.component._sorts import Sort, StringEncoding
from wasi_trio.component._types import FuncType, Future, ValType
from wasi_trio.component.concurrency import (
    DEADLOCK,
    CallCore,
    ComponentInstance,
    GuestCallee,
    HostOperation,
    LiftedFunction,
    Lowering,
    Task,
    Thread,
    Until,
    bind,
    start_task,
)
from wasi_trio.component.concurrency._instance import CANNOT_BLOCK
from wasi_trio.component.concurrency._tasks import next_beside

BLOCKED = 0xFFFF_FFFF
EXIT, YIELD = 0, 1


def wait_on(index: int) -> int:
    """Return the callback code WAIT."""
    return 2 | index << 4


class Memory:
    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.size = size

    def require(self, end: int) -> None:
        if end > self.size:
            raise Trap("out of bounds memory access")


class Scheduler:
    """Runs threads one step at a time. ``run`` continues until no thread can continue."""

    def __init__(self) -> None:
        self.woken: deque[Until] = deque()
        #: Threads that come before others, as in the pump.
        self.pressing: list[Until] = []
        self.threads: list[Thread] = []
        self.guests: dict[ComponentInstance, Guest] = {}

    def spawn(self, body: Any, task: Task) -> Thread:
        thread = task.thread = Thread(self.drive(body, task), task)
        self.threads.append(thread)
        self.step(thread, None)
        return thread

    def resume(self, thread: Thread, cancelled: bool) -> None:
        until = thread.until
        assert until is not None and (until.cancellable or not cancelled)
        thread.until = until.thread = None
        self.step(thread, cancelled)

    def wake(self, until: Until) -> None:
        if until.thread is not None:
            (self.woken if until.blocks else self.pressing).append(until)

    def step(self, thread: Thread, cancelled: bool | None) -> None:
        try:
            until = thread.body.send(cancelled)
        except StopIteration:
            self.threads.remove(thread)
            return
        except BaseException:
            self.threads.remove(thread)
            raise
        assert isinstance(until, Until)
        thread.until, until.thread = until, thread
        if not thread.task.function.type.is_async and until.blocks:
            self.pressing.append(until)
        elif until.ready():
            self.woken.append(until)

    def drive(self, body: Any, task: Task) -> Generator[Any, Any, None]:
        value = None
        while True:
            try:
                request = body.send(value)
            except StopIteration:
                return
            if isinstance(request, Until):
                cancelled = yield request
                value = request.finish(cancelled)
            else:
                value = yield from self.core(request, task)

    def core(self, call: CallCore, task: Task) -> Generator[Any, Any, list[int]]:
        instance = task.instance
        guest = self.guests[instance]
        function = guest.cores[call.item]
        assert len(call.args) == len(call.params)
        outer, instance.task = instance.task, task
        try:
            result = function(guest, *call.args)
            if isinstance(result, GeneratorType):
                value = None
                while True:
                    try:
                        until = result.send(value)
                    except StopIteration as stop:
                        result = stop.value
                        break
                    instance.task = outer
                    cancelled = yield until
                    outer, instance.task = instance.task, task
                    value = until.finish(cancelled)
        finally:
            instance.task = outer
        results = [] if result is None else [result]
        assert len(results) == len(call.results), call.item
        return results

    def run(self) -> None:
        """Continue until no thread is ready."""
        while self.pressing or self.woken:
            if self.pressing:
                self.press(self.pressing[-1])
                continue
            until = self.woken.popleft()
            if until.thread is not None and until.ready():
                self.resume(until.thread, False)
        # Checks for missed wake-ups: no parked thread may be ready.
        for thread in self.threads:
            assert thread.until is not None and not thread.until.ready(), "a thread was not woken"

    def press(self, until: Until) -> None:
        thread = until.thread
        if thread is None or until.ready():
            self.pressing.remove(until)
            if thread is not None:
                self.resume(thread, False)
            return
        other = next_beside(thread, self.threads)
        if other is None:
            raise Trap(CANNOT_BLOCK)
        self.resume(other, False)

    def finish(self, call: Call) -> Any:
        self.run()
        if not call.resolved:
            raise Trap(DEADLOCK)
        return call.outcome


class Call:
    """A call from the host."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.outcome: Any = None
        self.resolved = False

    def resolve(self, outcome: Any) -> None:
        assert not self.resolved
        self.outcome, self.resolved = outcome, True


class Guest:
    """An instance with one memory of 64 KiB. ``scratch`` returns unused addresses in it."""

    def __init__(self, scheduler: Scheduler, index: int = 0) -> None:
        self.handles = HandleTable()
        self.instance = ComponentInstance(index, self.handles, scheduler)
        scheduler.guests[self.instance] = self
        self.index = index
        self.memory = Memory(1 << 16)
        self.next = 1024
        self.cores: dict[Any, Callable[..., Any]] = {}
        self.known: dict[tuple[Any, ...], Options] = {}
        self.bound: dict[tuple[Any, ...], Any] = {}
        self.reallocations = 0

    def realloc(self, old: int, old_size: int, alignment: int, size: int) -> int:
        self.reallocations += 1
        return self.scratch(size, alignment)

    def scratch(self, size: int, alignment: int = 8) -> int:
        pointer = (self.next + alignment - 1) & -alignment
        self.next = pointer + size
        return pointer

    def put(self, data: bytes, alignment: int = 8) -> int:
        pointer = self.scratch(len(data), alignment)
        self.memory.view[pointer : pointer + len(data)] = data
        return pointer

    def read(self, pointer: int, size: int) -> bytes:
        return bytes(self.memory.view[pointer : pointer + size])

    def word(self, pointer: int) -> int:
        return int.from_bytes(self.read(pointer, 4), "little")

    # ---- definitions ----

    def options(
        self,
        is_async: bool = False,
        callback: Callable[..., Any] | None = None,
        post_return: Callable[..., Any] | None = None,
        encoding: StringEncoding = StringEncoding.UTF8,
    ) -> Options:
        key = (encoding, is_async, callback, post_return)
        if key not in self.known:
            item = CoreExport(self.index, "memory", Sort.CORE_MEMORY)
            options = self.known[key] = Options(
                encoding, item, self.core(self.realloc), self.core(post_return), is_async, self.core(callback)
            )
            self.instance.contexts[options] = Context(self.handles, self.memory, self.realloc, self.instance)
        return self.known[key]

    def core(self, function: Callable[..., Any] | None) -> Any:
        if function is None:
            return None
        for item, known in self.cores.items():
            if known is function:
                return item
        item = CoreExport(self.index, f"f{len(self.cores)}", Sort.CORE_FUNC)
        self.cores[item] = function
        return item

    def lift(self, function: Callable[..., Any], type_: FuncType, **options: Any) -> LiftedFunction:
        return LiftedFunction(Lifted(self.index, self.core(function), type_, self.options(**options)))

    def lower(self, callee: Any, type_: FuncType, is_async: bool = False) -> Lowering:
        options = self.options(is_async)
        return Lowering(Lower(self.index, HostFunc("", "f", type_), options), callee)

    def builtin(
        self,
        name: str,
        type_: ValType | None = None,
        is_async: bool = False,
        slot: int = 0,
        encoding: StringEncoding = StringEncoding.UTF8,
    ) -> Any:
        key = (name, type_, is_async, slot, encoding)
        if key not in self.bound:
            options = self.options(is_async, encoding=encoding)
            self.bound[key] = bind(AsyncBuiltin(self.index, name, type_, options, slot))
        return self.bound[key]

    # ---- what core functions do ----

    def call(self, name: str, *args: int, **definition: Any) -> Any:
        """Call a built-in that must not wait."""
        result = self.builtin(name, **definition)(self.instance, *args)
        assert not isinstance(result, Until), f"{name} waits"
        return result

    def do(self, name: str, *args: int, **definition: Any) -> Generator[Until, Any, Any]:
        """Call a built-in that may have to wait."""
        return (yield from wait(self.builtin(name, **definition)(self.instance, *args)))

    def imported(self, lowering: Lowering, *args: int) -> Generator[Until, Any, Any]:
        """Call a lowered function."""
        return (yield from wait(lowering(self.instance, list(args))))


def wait(result: Any) -> Generator[Until, Any, Any]:
    if isinstance(result, Until):
        result = yield result
    return result


class World:
    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.guests: list[Guest] = []

    def guest(self) -> Guest:
        guest = Guest(self.scheduler, len(self.guests))
        self.guests.append(guest)
        return guest

    def start(self, function: LiftedFunction, *arguments: Any) -> Call:
        """Start a call from the host, which runs inline until it waits."""
        task = Task(
            function, self.guests[function.part].instance, lambda: arguments, lambda outcome: call.resolve(outcome)
        )
        call = Call(task)
        start_task(task, None)
        return call

    def invoke(self, function: LiftedFunction, *arguments: Any) -> Any:
        return self.scheduler.finish(self.start(function, *arguments))

    def callee(self, function: LiftedFunction) -> GuestCallee:
        return GuestCallee(function, lambda caller: self.guests[function.part].instance)

    def inside(self, guest: Guest, function: Callable[[], Any]) -> Any:
        """Run plain Python as core code of a call of an ``async`` function."""
        results: list[Any] = []

        def core(guest: Guest) -> None:
            results.append(function())

        self.invoke(guest.lift(core, FuncType((), None, is_async=True)))
        return results[0]


class Host:
    """A host function. ``act`` returns the value or a HostOperation."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self.act = act

    def start(self, instance: ComponentInstance, arguments: tuple[Any, ...]) -> Any:
        return self.act(*arguments)


class Operation:
    """A host operation that the test controls."""

    def __init__(self) -> None:
        self.cancels = 0
        self.started = HostOperation(self.cancel)
        self.resolve = self.started.resolve

    def cancel(self) -> None:
        self.cancels += 1


FUTURE = Future(None)


class Gate:
    """A waitable set in which a test can cause an event. It contains a future that is being read."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.set = guest.call("waitable-set.new")
        ends = guest.call("future.new", type_=FUTURE)
        self.readable, self.writable = ends & 0xFFFF_FFFF, ends >> 32
        guest.call("future.read", self.readable, 0, type_=FUTURE, is_async=True)
        guest.call("waitable.join", self.readable, self.set)

    def open(self) -> None:
        self.guest.call("future.write", self.writable, 0, type_=FUTURE, is_async=True)


def never(guest: Guest, *event: int) -> int:
    raise AssertionError("this callback is not to be called")


def blocker(guest: Guest, gate: Gate, log: list[str], name: str):  # type: ignore[no-untyped-def]
    """Return a core function that keeps exclusive entry while it waits."""

    def core(guest: Guest):  # type: ignore[no-untyped-def]
        log.append(f"{name} starts")
        yield from guest.do("waitable-set.wait", gate.set, 0)
        log.append(f"{name} ends")

    return core
