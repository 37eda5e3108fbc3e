"""The pump runs the guest threads of one instance of a concurrent component (WASI 0.3).

The Component Model's threads are generators (``component.concurrency._threads``) that request calls of core functions
and waits for conditions. One trio task runs all guest code of an instance, in ``Pump.run``. Other tasks (host
operations, readers and writers of streams, callers of exports) change state, wake the threads that wait for it, and
leave the rest to the pump.

A thread in core wasm has a fiber. The fiber can be suspended in three ways: by a built-in that must wait (``Until``),
by a synchronous host call that waits (``Pending``, which blocks the whole instance as in WASI 0.2), and by an epoch
tick.
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
from wasi_trio.component.concurrency._instance import CANNOT_BLOCK, MAX_DEPTH, TOO_DEEP
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._tasks import CANCELLED, Task, TaskState, next_beside, start_task
from wasi_trio.component.concurrency._threads import DEADLOCK, Body, CallCore, GuestTask, Until
from wasi_trio.runtime._calls import core_func
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._fiber import CUT_SHORT, Fiber, Meter, metered
from wasi_trio.runtime._host_calls import Pending, steps, wait_for
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._origins import ORIGIN, Origin
from wasi_trio.runtime._run_queue import CPU_BOUND, run_queue
from wasi_trio.runtime._store import Store, end_of
from wasi_trio.runtime._ticker import Ticker

if TYPE_CHECKING:
    from wasi_trio.runtime._running import HostCall

#: Maximum number of host operations cancelled in one turn of the loop.
_CANCELLED_AT_ONCE = 100


class Thread(threads.Thread):
    """A guest thread, and its fiber while it is in core wasm."""

    __slots__ = ("computed", "fiber", "origin", "pending")

    def __init__(self, body: Body, task: Task) -> None:
        super().__init__(body, task)
        assert isinstance(task.instance, Store)
        self.fiber = Fiber(task.instance)
        #: Processor time in seconds since the current computation was first interrupted, or None. (Elapsed time means
        #: little, because on a busy machine ticks pass in which the thread hardly computes.)
        self.computed: float | None = None
        #: The synchronous host call in which it waits.
        self.pending: Pending | None = None
        #: The origin for which it runs.
        self.origin: Origin | None = None


class _Suspended:
    """The answer of a step that was suspended."""


_SUSPENDED = _Suspended()


def _same(arguments: Sequence[Any]) -> Sequence[Any]:
    return arguments


def _resolved(outcome: Any) -> None:
    raise AssertionError("a thread that has ended resolves nothing")


def _part(thread: Thread) -> None:
    """Break the reference cycle of a thread that has ended, its task and the call."""
    thread.task.thread = None
    thread.task.on_resolve = _resolved
    thread.task.on_refuse = None


class HostOperation(subtasks.HostOperation):
    """A host function's coroutine, which runs as a trio task for a guest's subtask."""

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
        except Exception as error:  # the caller of the guest gets it
            pump.fail(error)
            return
        finally:
            pump.operations.discard(self)
            if origin is not None:
                origin.waited(call[0], began)
        try:
            self.resolve(outcome)
        except Trap as error:  # the guest exceeds its memory limit
            pump.fail(error)


class Call:
    """A call of an export from outside the instance.

    ``on_done`` is called after ``outcome`` or ``failure`` is set. An outcome is the result or CANCELLED.
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
        if self.task is not None and self.task.thread is None:
            self.task = None  # it never started
        self.outcome = outcome
        self.resolved = True
        self.pump.calls.discard(self)
        self.on_done()

    def fail(self, error: BaseException) -> None:
        if not self.resolved:
            self.failure = error
            self.resolved = True
            self.pump.calls.discard(self)
            self.task = None
            self.on_done()

    def cancel(self) -> None:
        """Request the early end of the call, which must still resolve.

        A call that the guest has not started never starts. If it has, the guest gets ``TASK_CANCELLED``, provided that
        it can acknowledge that (``LinkedComponent.takes_cancellation``).
        """
        task = self.task
        if task is None or self.resolved:
            return
        if task.thread is None and task.state is TaskState.INITIAL:
            task.request_cancellation()
        else:
            self.pump.post(self._request_cancellation)

    def _request_cancellation(self) -> None:
        task = self.task
        if task is None or self.resolved:
            return
        if task.state is TaskState.INITIAL or self.pump.instance.linked.takes_cancellation(task.function.part):
            task.request_cancellation()


class Pumped(Protocol):
    """The interface of an ``Instance`` for its pump."""

    linked: LinkedComponent
    stores: list[Store | None]
    meter: Meter | None

    def retire(self, reason: str) -> None:
        """Prevent all further calls into the instance."""


class Pump:
    """Runs the threads of one instance. It is the ``Scheduler`` of the instance's parts."""

    def __init__(self, instance: Pumped, nursery: trio.Nursery) -> None:
        self.instance = instance
        self.nursery = nursery
        #: The unresolved calls from outside.
        self.calls: set[Call] = set()
        #: The host operations in progress.
        self.operations: set[HostOperation] = set()
        #: Called in ``run``'s task if no thread can continue. Returns whether it has given the pump work.
        self.on_idle: Callable[[], bool] | None = None
        #: Called in ``run``'s task before other tasks run, while a thread computes or blocks the instance.
        self.on_busy: Callable[[], None] | None = None
        #: The origin of the running thread. The threads that it starts inherit it.
        self.origin: Origin | None = None
        #: The error that stopped the guest code, or None.
        self.failure: BaseException | None = None
        self._threads: set[Thread] = set()
        self._woken: deque[Until] = deque()
        #: The requests of threads that come before others, the innermost last: of those whose callee has returned, and
        #: of calls of functions that are not ``async``.
        self._pressing: list[Until] = []
        #: The requests of threads that only yield to other threads.
        self._resting: dict[Until, None] = {}
        #: The threads that were interrupted while they computed.
        self._interrupted: deque[Thread] = deque()
        #: The threads in synchronous host calls that wait.
        self._held: deque[Thread] = deque()
        self._posted: deque[Callable[[], None]] = deque()
        #: The task of ``run`` while it waits for work.
        self._sleeper: trio.lowlevel.Task | None = None
        #: The scope around ``run``. It must enclose everything, because a synchronous host call may have open scopes.
        self._scope = trio.CancelScope()
        self._stopping = False
        #: The error that ``run`` handles after it stops.
        self._error: BaseException | None = None
        #: The number of fibers that run, each in a host call of the one before.
        self._depth = 0

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
        # A yielding thread continues after all others. If it continued now, two threads could keep waking each other,
        # and neither other threads nor new requests would ever run.
        if until.thread is not None and until not in self._resting:
            if until.blocks:
                self._woken.append(until)
            else:
                self._pressing.append(until)
            self.alert()

    # ---- for the host ------------------------------------------------------------------------------------

    def call(
        self,
        function: LiftedFunction,
        arguments: Sequence[Any],
        on_done: Callable[[], None],
        origin: Origin | None = None,
    ) -> Call:
        """Call an export for ``origin``. Its thread starts at the pump's next opportunity."""
        call = Call(self, on_done)
        store = self.instance.stores[function.part]
        assert store is not None
        self.calls.add(call)
        task = call.task = Task(function, store, partial(_same, arguments), call.resolve, call.fail)
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
        """Run ``act`` in the pump's task between two steps of the guest."""
        self._posted.append(act)
        self.alert()

    def fail(self, error: BaseException) -> None:
        """End the instance with a host error, even if its threads have not finished."""
        self._error = self._error or error
        self.stop()

    def stop(self) -> None:
        """Make ``run`` return, even if its threads have not finished."""
        self._stopping = True
        self._scope.cancel()

    def alert(self) -> None:
        """Make ``run`` look for work, which includes a call of ``on_idle``."""
        sleeper = self._sleeper
        if sleeper is not None:
            self._sleeper = None
            trio.lowlevel.reschedule(sleeper)

    @property
    def asleep(self) -> bool:
        """Whether ``run`` waits for work."""
        return self._sleeper is not None

    def works_on(self, call: Call) -> bool:
        """Return whether the guest still works on a call, before or after it returned the result."""
        return call.task is not None and call.task.thread in self._threads

    @property
    def idle(self) -> bool:
        """Whether no thread remains, including background work."""
        return not self._threads and not self._posted

    @property
    def stalled(self) -> bool:
        """Whether no thread can continue without a new call or a cancellation.

        This is so if no thread is ready, no host operation is in progress, and no thread waits for a stream or future
        whose other end the host has. Evaluate this only when ``run`` has no work.
        """
        if self._posted or self._woken or self._resting or self._interrupted or self._held or self._pressing:
            return False
        if self.operations:
            return False
        return not any(thread.until is None or thread.until.awaits_host for thread in self._threads)

    @uninterrupted
    async def run(self) -> None:
        """Run the instance's threads until ``stop`` or until the guest fails.

        A failure is a Trap or an exception of a host function. It is stored in ``failure`` and ends all calls in
        progress. Cancellation also ends them. If a thread was in core wasm, the instance cannot be used afterwards.
        Host operations in progress are cancelled.
        """
        engine = self.instance.linked.engine
        try:
            with self._scope:
                await self._run(engine.ticker)
            if self._error is not None:
                raise self._error
            self._fail_calls(Trap(CUT_SHORT))
        except Exception as error:  # stored, and passed to the calls in progress
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
        pressing = self._pressing
        queue, component = run_queue(), self.instance.linked
        if perf_counter() > queue.turn_ends:
            await queue.begin(component)
        turn = ticker.ticks  # the tick at which other tasks last ran
        while not self._stopping:
            # A thread that was interrupted, or is in a host call, comes first. The guest regards it as running, so no
            # other thread of the instance may run before it.
            if interrupted:
                computed = interrupted[0].computed or 0.0
                if self.on_busy is not None and computed >= CPU_BOUND:
                    self.on_busy()
                await queue.go_on(component, ticker, computed)
                turn = ticker.ticks
                if interrupted:  # the instance may have been closed during the wait
                    self._go_on_computing(interrupted.popleft())
            elif held:
                if self.on_busy is not None:
                    self.on_busy()
                await self._wait_for_host(held.popleft())
                turn = ticker.ticks
            elif pressing:
                if ticker.ticks != turn:  # threads can keep yielding to each other indefinitely
                    await queue.go_on(component, ticker, 0.0)
                    turn = ticker.ticks
                    continue
                self._press(pressing[-1])
            elif posted:
                posted.popleft()()
            elif woken:
                if ticker.ticks != turn:  # threads can keep waking each other indefinitely
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
                if perf_counter() > queue.turn_ends:
                    await queue.begin(component)
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
        """Cancel the host operations in progress, a few in each turn of the loop, because there may be thousands."""
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

    def _press(self, until: Until) -> None:
        """Continue the innermost of the threads that come before others, or one that it waits for."""
        thread = until.thread
        if thread is None:  # it has continued
            self._pressing.pop()
            return
        ready = until.ready()
        if ready and until not in self._resting:
            self._pressing.pop()
            self.resume(thread, False)
            return
        self._resting.pop(until, None)  # a thread that yields lets one other continue first
        other = next_beside(thread, self._threads)
        if other is not None:
            self.resume(other, False)
        elif not ready:
            raise Trap(CANNOT_BLOCK)

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
        """Continue a fiber that a tick interrupted."""
        before = thread_time()
        self._continue(thread)
        if thread.computed is not None:
            thread.computed += thread_time() - before

    def _continue(self, thread: Thread) -> None:
        """Continue a suspended fiber."""
        value = self._run_fiber(thread, thread.fiber.resume)
        if value is not _SUSPENDED:
            self._advance(thread, value)

    def _run_fiber(self, thread: Thread, run: Callable[[], bool]) -> Any:
        """Run a thread's fiber. Return its results, or ``_SUSPENDED`` after putting the thread into the right queue."""
        if self._depth >= MAX_DEPTH:
            raise Trap(TOO_DEEP)
        self._depth += 1
        store = thread.fiber.store
        outer, store.task = store.task, thread.task
        meter = self.instance.meter
        before, origin = self.origin, thread.origin
        if origin is not before:
            self._set_origin(origin)
        try:
            done = run() if meter is None else metered(thread.fiber, run, meter, thread.task)
        finally:
            self._depth -= 1
            store.task = outer
            if origin is not before:
                self._set_origin(before)
        if done:
            return thread.fiber.results()
        if store.until is not None:
            until, store.until = store.until, None
            self._park(thread, until)
            if until.blocks and not thread.task.function.type.is_async:
                self._pressing.append(until)
                self.alert()
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
        """Wait for a synchronous host call, which blocks the whole instance."""
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
        await trio.lowlevel.checkpoint_if_cancelled()  # the call may have ended despite a cancellation
        queue = thread.fiber.store.queue
        if perf_counter() > queue.turn_ends:
            await queue.begin(self.instance.linked)
        if self._stopping:  # the fiber may have been dropped
            return
        thread.fiber.store.pending, thread.pending = pending, None
        self._continue(thread)

    def _end(self, error: BaseException) -> None:
        self.failure = error
        self.instance.retire(end_of(error))
        self._fail_calls(error)

    def _fail_calls(self, error: BaseException) -> None:
        calls, self.calls = self.calls, set()
        for call in calls:
            call.fail(error)

    @uninterrupted
    def drop_fibers(self) -> None:
        """Unwind the rest of the guest's stacks, which ends ``run``. Must be called before their stores are freed."""
        self._stopping = True
        self._interrupted.clear()
        self._held.clear()
        self._pressing.clear()
        self.alert()
        for thread in self._threads:
            if thread.fiber.future is not None:
                thread.fiber.drop()
                self.instance.retire("a call into it did not run to its end")
            _part(thread)
        self._threads.clear()
