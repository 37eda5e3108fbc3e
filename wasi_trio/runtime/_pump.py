"""The pump: runs the guest threads of one instance of a concurrent component (WASI 0.3).

The Component Model's threads are generators (``component.concurrency._threads``) that ask for core functions to be
called and for conditions to be waited for. All guest code of an instance is run by one trio task, in ``Pump.run``;
other tasks (host operations, readers and writers of streams, whoever calls an export) change state, wake what waits for
it, and leave the rest to the pump.

A thread that is in core wasm has a fiber. It can be suspended there in three ways: by a built-in that has to wait
(``Until``), by a synchronous host call that waits (``Pending``: as in WASI 0.2 that holds up the whole instance), and
by an epoch tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter, thread_time
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

import trio

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err
from wasi_trio.component.concurrency import _subtasks as subtasks
from wasi_trio.component.concurrency import _threads as threads
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._tasks import CANCELLED, Task, start_task
from wasi_trio.component.concurrency._threads import DEADLOCK, Body, CallCore, GuestTask, Until
from wasi_trio.runtime._calls import core_func
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._fiber import Fiber, Meter, metered
from wasi_trio.runtime._host_calls import Pending, steps, wait_for
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._origins import ORIGIN, Origin
from wasi_trio.runtime._run_queue import CPU_BOUND, run_queue
from wasi_trio.runtime._store import Store
from wasi_trio.runtime._ticker import Ticker

if TYPE_CHECKING:
    from wasi_trio.runtime._running import HostCall

#: host operations that are cancelled in one turn of the loop
_CANCELLED_AT_ONCE = 100


class Thread(threads.Thread):
    """A guest thread and, while it is in core wasm, its fiber."""

    __slots__ = ("computed", "fiber", "origin", "pending")

    def __init__(self, body: Body, task: Task) -> None:
        super().__init__(body, task)
        assert isinstance(task.instance, Store)
        self.fiber = Fiber(task.instance)
        #: seconds of processor time since it was first interrupted in what it does now; None if it was not. (Time that
        #: goes by says little: on a machine with much else to do ticks come by when hardly anything was computed.)
        self.computed: float | None = None
        #: the synchronous host call it waits in
        self.pending: Pending | None = None
        #: on whose behalf it runs
        self.origin: Origin | None = None


class _Suspended:
    """The answer of a step that did not come to its end."""


_SUSPENDED = _Suspended()


def _same(arguments: Sequence[Any]) -> Sequence[Any]:
    return arguments


def _resolved(outcome: Any) -> None:
    raise AssertionError("a thread that has ended resolves nothing")


def _part(thread: Thread) -> None:
    """A thread has ended: it, its task and the call are not to keep one another until garbage is collected."""
    thread.task.thread = None
    thread.task.on_resolve = _resolved


class HostOperation(subtasks.HostOperation):
    """A host function's coroutine, run as a trio task on behalf of a guest's subtask."""

    __slots__ = ("_pump", "_scope")

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._scope = trio.CancelScope()
        super().__init__(self._scope.cancel)

    @uninterrupted
    async def run(self, call: HostCall, coroutine: CoroutineType[Any, Any, Any], fallible: bool) -> None:
        pump = self._pump
        outcome: Any = CANCELLED
        origin = ORIGIN.get()
        began = 0.0 if origin is None else trio.current_time()
        try:
            with self._scope:
                outcome = await steps(pump.instance.linked.engine, call, coroutine)
        except Err as error:
            if not fallible:
                pump.fail(error)
                return
            outcome = error.with_traceback(None)
        except Exception as error:  # goes to whoever called the guest
            pump.fail(error)
            return
        finally:
            pump.operations.discard(self)
            if origin is not None:
                origin.waited(call[0], began)
        try:
            self.resolve(outcome)
        except Trap as error:  # the guest holds more than it may
            pump.fail(error)


class Call:
    """A call of an export, from outside the instance.

    ``on_done`` is called once ``outcome`` or ``failure`` is set. An outcome is the result, or CANCELLED.
    """

    __slots__ = ("failure", "on_done", "outcome", "pump", "resolved", "task")

    def __init__(self, pump: Pump, on_done: Callable[[], None]) -> None:
        self.pump = pump
        self.on_done = on_done
        self.outcome: Any = None
        self.failure: BaseException | None = None
        self.resolved = False
        self.task: Task | None = None

    def resolve(self, outcome: Any) -> None:
        self.outcome = outcome
        self.resolved = True
        self.pump.calls.discard(self)
        self.on_done()

    def fail(self, error: BaseException) -> None:
        if not self.resolved:
            self.failure = error
            self.resolved = True
            self.task = None
            self.on_done()

    def cancel(self) -> None:
        """Ask the guest to end the call early (``TASK_CANCELLED``); it still has to resolve."""
        self.pump.post(self._request_cancellation)

    def _request_cancellation(self) -> None:
        if self.task is not None and not self.resolved:
            self.task.request_cancellation()


class Pumped(Protocol):
    """The ``Instance`` that a pump runs, as far as it looks at it."""

    linked: LinkedComponent
    stores: list[Store | None]
    meter: Meter | None

    def retire(self, reason: str) -> None:
        """Let no call into the instance any more."""


class Pump:
    """Runs the threads of one instance; see the module. It is the ``Scheduler`` of the instance's parts."""

    def __init__(self, instance: Pumped, nursery: trio.Nursery) -> None:
        self.instance = instance
        self.nursery = nursery
        #: calls from outside that have not resolved
        self.calls: set[Call] = set()
        #: host operations under way
        self.operations: set[HostOperation] = set()
        #: called in ``run``'s task when no thread can go on; whether it has found the pump something to do
        self.on_idle: Callable[[], bool] | None = None
        #: called in ``run``'s task before others get their turn while a thread computes or holds up the instance
        self.on_busy: Callable[[], None] | None = None
        #: on whose behalf a thread runs at the moment; those that it starts do so for the same
        self.origin: Origin | None = None
        #: why it stopped running guest code
        self.failure: BaseException | None = None
        self._threads: set[Thread] = set()
        self._woken: deque[Until] = deque()
        #: what threads wait for that have merely let others go first
        self._resting: dict[Until, None] = {}
        #: threads that were interrupted while they computed
        self._interrupted: deque[Thread] = deque()
        #: threads in synchronous host calls that wait
        self._held: deque[Thread] = deque()
        self._posted: deque[Callable[[], None]] = deque()
        #: the task of ``run`` while it waits for something to do
        self._sleeper: trio.lowlevel.Task | None = None
        #: around ``run``; it has to be, because a synchronous host call that waits may have scopes of its own open
        self._scope = trio.CancelScope()
        self._stopping = False
        #: what ``run`` is to fail with when it has stopped
        self._error: BaseException | None = None

    # ---- the Scheduler of the Component Model layer ------------------------------------------------------

    def spawn(self, body: Body, task: GuestTask) -> Thread:
        assert isinstance(task, Task)
        thread = task.thread = Thread(body, task)
        thread.origin = self.origin
        self._threads.add(thread)
        self._advance(thread, None)
        return thread

    def resume(self, thread: threads.Thread, cancelled: bool) -> None:
        assert isinstance(thread, Thread)
        until = thread.until
        assert until is not None
        thread.until = until.thread = None
        self._resting.pop(until, None)
        if thread.fiber.future is None:
            self._advance(thread, until.finish(cancelled))
        else:
            thread.fiber.store.answer = (until, cancelled)
            self._continue(thread)

    def wake(self, until: Until) -> None:
        # One that rests has its turn after all others: were it to go on now, two could keep one another going, and
        # neither those nor new requests would ever have theirs.
        if until.thread is not None and until not in self._resting:
            self._woken.append(until)
            self.alert()

    # ---- for the host ------------------------------------------------------------------------------------

    def call(
        self,
        function: LiftedFunction,
        arguments: Sequence[Any],
        on_done: Callable[[], None],
        origin: Origin | None = None,
    ) -> Call:
        """Call an export, on behalf of ``origin``; its thread starts as soon as the pump gets to it."""
        call = Call(self, on_done)
        store = self.instance.stores[function.part]
        assert store is not None
        self.calls.add(call)
        task = call.task = Task(function, store, partial(_same, arguments), call.resolve)
        self.post(partial(self._begin, task, origin))
        return call

    def _begin(self, task: Task, origin: Origin | None) -> None:
        if origin is None:
            start_task(task, None)
            return
        self._set_origin(origin)
        try:
            start_task(task, None)
        finally:
            self._set_origin(None)

    def start(self, call: HostCall, coroutine: CoroutineType[Any, Any, Any], fallible: bool) -> HostOperation:
        """Run a host function's coroutine as a task of the instance."""
        operation = HostOperation(self)
        self.operations.add(operation)
        self.nursery.start_soon(operation.run, call, coroutine, fallible)
        return operation

    def post(self, act: Callable[[], None]) -> None:
        """Have the pump's task do something between two steps of the guest."""
        self._posted.append(act)
        self.alert()

    def fail(self, error: BaseException) -> None:
        """End the instance with an error of the host's, whatever its threads are in the middle of."""
        self._error = self._error or error
        self.stop()

    def stop(self) -> None:
        """Have ``run`` return, whatever its threads are in the middle of."""
        self._stopping = True
        self._scope.cancel()

    def alert(self) -> None:
        """Have ``run`` look for something to do, ``on_idle`` included."""
        sleeper = self._sleeper
        if sleeper is not None:
            self._sleeper = None
            trio.lowlevel.reschedule(sleeper)

    @property
    def asleep(self) -> bool:
        """Whether ``run`` waits for something to do."""
        return self._sleeper is not None

    def works_on(self, call: Call) -> bool:
        """Whether the guest goes on with a call, its result given or not."""
        return call.task is not None and call.task.thread in self._threads

    @property
    def idle(self) -> bool:
        """Whether no thread is left, background work included."""
        return not self._threads and not self._posted

    @property
    def stalled(self) -> bool:
        """Whether no thread can go on, and none will unless the guest is called or told of a cancellation.

        None is ready, no host operation is under way whose end would wake one, and none waits for an end of a stream or
        future of which the host has the other. To be asked where ``run`` has nothing to do.
        """
        if self._posted or self._woken or self._resting or self._interrupted or self._held or self.operations:
            return False
        return not any(thread.until is None or thread.until.awaits_host for thread in self._threads)

    @uninterrupted
    async def run(self) -> None:
        """Run the instance's threads until ``stop``, or until the guest fails.

        A failure (Trap, or what a host function raised) is ``failure`` then, and that of every call under way. When
        cancelled, calls under way fail. The instance is dead in the end if a thread was in core wasm, and host
        operations that are still under way are cancelled.
        """
        engine = self.instance.linked.engine
        try:
            with self._scope:
                await self._run(engine.ticker)
            if self._error is not None:
                raise self._error
        except Exception as error:  # handed to the calls under way, and kept
            if engine.orphans:
                await engine.settle_orphans()
            self._end(error)
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self.drop_fibers()
            await self._cancel_operations()

    async def _run(self, ticker: Ticker) -> None:
        posted, woken, interrupted, held = self._posted, self._woken, self._interrupted, self._held
        queue, component = run_queue(), self.instance.linked
        if perf_counter() > queue.turn_ends:
            await queue.begin(component)
        turn = ticker.ticks  # when others last had their turn
        while not self._stopping:
            # A thread that was merely interrupted, or is in a host call, comes first: to the guest it is in the
            # middle of something, in which no other thread of the instance may get between.
            if interrupted:
                computed = interrupted[0].computed or 0.0
                if self.on_busy is not None and computed >= CPU_BOUND:
                    self.on_busy()
                await queue.go_on(component, ticker, computed)
                turn = ticker.ticks
                if interrupted:  # the instance may have been closed meanwhile
                    self._go_on_computing(interrupted.popleft())
            elif held:
                if self.on_busy is not None:
                    self.on_busy()
                await self._wait_for_host(held.popleft())
                turn = ticker.ticks
            elif posted:
                posted.popleft()()
            elif woken:
                if ticker.ticks != turn:  # threads can keep one another going without end
                    await queue.go_on(component, ticker, 0.0)
                    turn = ticker.ticks
                    continue
                until = woken.popleft()
                if until.thread is not None and until.ready():
                    self.resume(until.thread, False)
            elif self.on_idle is not None and self.on_idle():
                pass
            elif self._resting:
                await trio.lowlevel.checkpoint()
                turn = ticker.ticks
                woken.extend(self._resting)
                self._resting.clear()
            else:
                if self.calls and self.on_idle is None and self.stalled:
                    raise Trap(DEADLOCK)
                self._sleeper = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_sleeping)
                if perf_counter() > queue.turn_ends:
                    await queue.begin(component)
                turn = ticker.ticks

    async def _cancel_operations(self) -> None:
        """Cancel the host operations under way, a few in each turn of the loop: there may be thousands."""
        operations = list(self.operations)
        with trio.CancelScope(shield=True):
            for start in range(0, len(operations), _CANCELLED_AT_ONCE):
                for operation in operations[start : start + _CANCELLED_AT_ONCE]:
                    operation.cancel()
                if start + _CANCELLED_AT_ONCE < len(operations):
                    await trio.lowlevel.checkpoint()

    def _stop_sleeping(self, raise_cancel: Any) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _set_origin(self, origin: Origin | None) -> None:
        self.origin = origin
        ORIGIN.set(origin)

    # ---- steps -------------------------------------------------------------------------------------------

    def _park(self, thread: Thread, until: Until) -> None:
        thread.until = until
        until.thread = thread
        if until.ready():
            self._resting[until] = None

    def _advance(self, thread: Thread, value: Any) -> None:
        """Run a thread's generator until it waits or ends."""
        body = thread.body
        while True:
            try:
                request = body.send(value)
            except StopIteration:
                self._threads.discard(thread)
                if thread.task.counted:
                    thread.fiber.store.end_thread()
                _part(thread)
                return
            if isinstance(request, Until):
                self._park(thread, request)
                return
            assert isinstance(request, CallCore)
            value = self._call(thread, request)
            if value is _SUSPENDED:
                return

    def _call(self, thread: Thread, call: CallCore) -> Any:
        fiber = thread.fiber
        fiber.begin(core_func(fiber.store, call.item, call.params, call.results), call.args)
        thread.computed = None
        return self._run_fiber(thread, fiber.poll)

    def _go_on_computing(self, thread: Thread) -> None:
        """Go on with a fiber that was interrupted by a tick."""
        before = thread_time()
        self._continue(thread)
        if thread.computed is not None:
            thread.computed += thread_time() - before

    def _continue(self, thread: Thread) -> None:
        """Go on with a fiber that was suspended."""
        value = self._run_fiber(thread, thread.fiber.resume)
        if value is not _SUSPENDED:
            self._advance(thread, value)

    def _run_fiber(self, thread: Thread, run: Callable[[], bool]) -> Any:
        """Run a thread's fiber: its results, or ``_SUSPENDED`` with the thread put where it waits."""
        store = thread.fiber.store
        outer, store.task = store.task, thread.task
        meter = self.instance.meter
        before, origin = self.origin, thread.origin
        if origin is not before:
            self._set_origin(origin)
        try:
            done = run() if meter is None else metered(thread.fiber, run, meter, thread.task)
        finally:
            store.task = outer
            if origin is not before:
                self._set_origin(before)
        if done:
            return thread.fiber.results()
        if store.until is not None:
            until, store.until = store.until, None
            self._park(thread, until)
        elif store.pending is not None:
            thread.pending, store.pending = store.pending, None
            self._held.append(thread)
        else:
            thread.computed = thread.computed or 0.0
            self._interrupted.append(thread)
            return _SUSPENDED
        thread.computed = None
        return _SUSPENDED

    async def _wait_for_host(self, thread: Thread) -> None:
        """Wait in a synchronous host call, with the whole instance."""
        pending = thread.pending
        assert pending is not None
        origin = thread.origin
        if origin is not None:
            ORIGIN.set(origin)
        try:
            pending.value = await wait_for(pending, self.instance.linked.engine, origin)
        except Err as error:
            pending.value = pending.failed(error)
        finally:
            if origin is not None:
                ORIGIN.set(None)
        await trio.lowlevel.checkpoint_if_cancelled()  # it may have ended in spite of that
        queue = thread.fiber.store.queue
        if perf_counter() > queue.turn_ends:
            await queue.begin(self.instance.linked)
        if self._stopping:  # its fiber may be gone
            return
        thread.fiber.store.pending, thread.pending = pending, None
        self._continue(thread)

    def _end(self, error: BaseException) -> None:
        self.failure = error
        self.instance.retire(f"it failed: {type(error).__name__}")
        calls, self.calls = self.calls, set()
        for call in calls:
            call.fail(error)

    @uninterrupted
    def drop_fibers(self) -> None:
        """Unwind what is left of the guest's stacks, which ends ``run``; has to come before their stores are freed."""
        self._stopping = True
        self._interrupted.clear()
        self._held.clear()
        self.alert()
        for thread in self._threads:
            if thread.fiber.future is not None:
                thread.fiber.drop()
                self.instance.retire("a call into it did not run to its end")
            _part(thread)
        self._threads.clear()
