"""Tasks: calls of a component's functions ("Tasks" and ``canon lift`` of the Canonical ABI)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import BorrowScope
from wasi_trio.component.concurrency._instance import MAX_DEPTH, TOO_DEEP, ComponentInstance, UntilAdmitted
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._threads import Body, CallCore, GuestTask, Thread, Until
from wasi_trio.component.concurrency._waitables import NO_EVENT, TASK_CANCELLED, Event, WaitableSet

_EXIT, _WAIT = 0, 2
_EVENT_PARAMS = ("i32", "i32", "i32")
_CODE_RESULTS = ("i32",)


class Cancelled:
    """The class of ``CANCELLED``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "CANCELLED"


#: The resolution of a cancelled task or host operation, in place of a value.
CANCELLED: Final = Cancelled()


class TaskState(IntEnum):
    INITIAL = 1
    STARTED = 2
    PENDING_CANCEL = 3
    CANCEL_DELIVERED = 4
    RESOLVED = 5


class Task(BorrowScope):
    """A call of ``function`` in ``instance``, from its request to the end of its thread.

    ``on_start()`` returns the arguments when the call starts to run. ``on_resolve(value)`` takes the result or
    CANCELLED. It is called once, possibly long before the thread ends. ``on_refuse(error)`` is called instead if the
    arguments do not fit their types. Without it, that error ends the instance.
    """

    __slots__ = (
        "counted",
        "depth",
        "function",
        "instance",
        "on_refuse",
        "on_resolve",
        "on_start",
        "state",
        "storage",
        "thread",
    )

    def __init__(
        self,
        function: LiftedFunction,
        instance: ComponentInstance,
        on_start: Callable[[], Sequence[Any]],
        on_resolve: Callable[[Any], None],
        on_refuse: Callable[[Exception], None] | None = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.instance = instance
        self.on_start = on_start
        self.on_resolve = on_resolve
        self.on_refuse = on_refuse
        self.state = TaskState.INITIAL
        #: The two slots of context.get/set.
        self.storage = [0, 0]
        self.thread: Thread | None = None
        #: Whether the instance counts this task. The host bounds its own calls.
        self.counted = False
        #: The number of other calls that wait for this one. Only calls of functions that are not ``async`` count.
        self.depth = 0

    def start(self) -> Sequence[Any]:
        self.state = TaskState.STARTED
        return self.on_start()

    def refuse(self, error: Exception) -> None:
        """End the call before the guest has run, because its arguments cannot be lowered. Raises the guest's faults."""
        # A realloc that fails leaves the instance without the right to call out.
        if self.on_refuse is None or isinstance(error, Trap) or not self.instance.may_leave:
            raise error
        self.state = TaskState.RESOLVED
        self.on_refuse(error)

    def return_(self, value: Any) -> None:
        """Resolve to a value. Raises Trap if the task has resolved or still holds borrowed handles."""
        self._resolve(value)

    def cancel(self) -> None:
        """Resolve to CANCELLED. Raises Trap unless cancellation was delivered to the task."""
        if self.state is not TaskState.CANCEL_DELIVERED and self.state is not TaskState.RESOLVED:
            raise Trap("`task.cancel` called by task which has not been cancelled")
        self._resolve(CANCELLED)

    def _resolve(self, outcome: Any) -> None:
        if self.state is TaskState.RESOLVED:
            raise Trap("`task.return` or `task.cancel` called more than once for current task")
        if self.borrows:
            raise Trap("borrow handles still remain at the end of the call")
        self.state = TaskState.RESOLVED
        self.on_resolve(outcome)

    # ---- cancellation ------------------------------------------------------------------------------------

    def request_cancellation(self) -> None:
        """Request that the task resolves early. It learns this when its callback can next be called, perhaps at once.

        A task that has not started never starts: it resolves to CANCELLED before this returns, or in ``start_task`` if
        that comes later. A repeated request, or one to a resolved task, has no effect.
        """
        if self.state is TaskState.INITIAL:
            if self.thread is None:
                self.state = TaskState.PENDING_CANCEL
                return
            self.state = TaskState.CANCEL_DELIVERED
            self.instance.scheduler.resume(self.thread, True)
        elif self.state is TaskState.STARTED:
            self.state = TaskState.PENDING_CANCEL
            until = None if self.thread is None else self.thread.until
            if until is not None and until.enters:
                instance = self.instance
                if instance.exclusive is None:
                    assert self.thread is not None
                    instance.scheduler.resume(self.thread, False)
                else:
                    instance.alert(until)

    def deliver_pending_cancel(self) -> bool:
        """Return whether to deliver a requested cancellation to the guest, which happens once."""
        if self.state is TaskState.PENDING_CANCEL:
            self.state = TaskState.CANCEL_DELIVERED
            return True
        return False


class Interlude:
    """A call of ``realloc``, or of a destructor by its own component: a task with its own slots, which cannot wait.

    It stands for a ``Task`` where built-ins look at the running one. ``within`` is the ``Task`` around it, or None
    during instantiation.
    """

    __slots__ = ("depth", "storage", "within")

    #: It resolves nothing.
    function: ClassVar[Any] = SimpleNamespace(is_async=False)
    thread: ClassVar[None] = None

    def __init__(self, outer: Any) -> None:
        """``outer`` is the running task, which may be another one of this class, or None."""
        self.depth: int = 0 if outer is None else outer.depth
        self.storage = [0, 0]
        self.within: Any = outer.within if isinstance(outer, Interlude) else outer


def start_task(task: Task, caller: ComponentInstance | None) -> None:
    """Start a call for ``caller``, or for the host if None, and run it inline until it waits or ends.

    A call that has been cancelled resolves to CANCELLED instead. Raises any exception of the call before its first
    wait. The instance may be running: components may call each other recursively.
    """
    if task.deliver_pending_cancel():
        task.cancel()
        return
    instance = task.instance
    function = task.function
    if not function.type.is_async:
        if caller is not None and caller.task is not None:
            task.depth = caller.task.depth + 1
            if task.depth > MAX_DEPTH:
                raise Trap(TOO_DEEP)
        body = lift_sync(task)
    elif function.stackful:
        body = lift_stackful(task)
    else:
        if caller is not None and instance.exclusive is not None:
            _run_holder(instance, instance.exclusive)
        body = lift_async(task)
    if caller is not None:
        instance.begin_thread()
        task.counted = True
    instance.scheduler.spawn(body, task)


def _run_holder(instance: ComponentInstance, holder: GuestTask) -> None:
    """Run the task with exclusive entry as far as possible, before it holds back another task.

    The specification leaves the order to the scheduler. wasmtime runs ready threads before it starts a call, and the
    specification's test of synchronous streams depends on that.
    """
    thread = holder.thread
    if thread is not None and thread.until is not None and thread.until.ready():
        instance.scheduler.resume(thread, False)


def lift_sync(task: Task) -> Body:
    """Return the thread of a call of a function whose type is not ``async``. It enters at once."""
    args = _lower_arguments(task)
    if args is not None:
        yield from _call(task, (yield _core_call(task, args)))


def next_beside(waiting: Thread, threads: Iterable[Thread]) -> Thread | None:
    """Return the thread that runs next while a call of a function that is not ``async`` waits ("canon lift").

    It is a ready one of the same instance. If none is, and the awaited event has not come, the guest traps
    (CANNOT_BLOCK), because the caller regards the call as running.
    """
    instance = waiting.task.instance
    for thread in threads:
        until = thread.until
        if (
            thread is not waiting
            and until is not None
            and thread.task.instance is instance
            and not isinstance(until, UntilAdmitted)
            and until.ready()
        ):
            return thread
    return None


def lift_async(task: Task) -> Body:
    """Return the thread of a call of an ``async`` function without its own stack.

    It waits for entry to the instance, and again after each event that it awaits outside core code.
    """
    instance = task.instance
    if instance.busy:
        cancelled = yield instance.hold_back()
        if cancelled:
            task.cancel()
            return
    instance.exclusive = task
    args = _lower_arguments(task)
    if args is not None:
        results = yield _core_call(task, args)
        if not task.function.is_async:
            yield from _call(task, results)
        else:
            yield from _loop(task, results[0])
            if task.state is not TaskState.RESOLVED:
                raise Trap("async-lifted export failed to produce a result")
    instance.release()


def lift_stackful(task: Task) -> Body:
    """Return the thread of a call of an ``async`` function with its own stack, which may run beside others."""
    instance = task.instance
    if instance.backpressure:
        cancelled = yield instance.hold_back(False)
        if cancelled:
            task.cancel()
            return
    args = _lower_arguments(task)
    if args is not None:
        yield _core_call(task, args)
        if task.state is not TaskState.RESOLVED:
            raise Trap("async-lifted export failed to produce a result")


def _lower_arguments(task: Task) -> list[int] | None:
    """Return the core arguments, or None for a call that ends because its arguments do not fit."""
    function = task.function
    context = task.instance.context(function.options)
    arguments = task.start()
    context.scope = task
    try:
        if task.on_refuse is not None and function.check is not None:
            function.check(arguments)
        return function.lower(context, arguments)
    except Exception as error:  # the call gets it, unless the guest is at fault
        task.refuse(error)
        return None


def _core_call(task: Task, args: list[int]) -> CallCore:
    function = task.function
    return CallCore(function.core, args, function.params, function.results)


def _call(task: Task, results: list[int]) -> Any:
    """Finish the call of a function lifted without ``async`` after its core call."""
    function, instance = task.function, task.instance
    lift = function.lift
    task.return_(None if lift is None else lift(instance.context(function.options), results)[0])
    if function.post_return is not None:
        instance.may_leave = False
        yield CallCore(function.post_return, results, function.results, ())
        instance.may_leave = True


def _loop(task: Task, packed: int) -> Any:
    """Call the callback with events until it returns EXIT."""
    instance, callback = task.instance, task.function.callback
    assert callback is not None
    while True:
        code, index = packed & 0xF, packed >> 4 & 0xFFF_FFFF
        if code == _EXIT:
            return
        event: Event
        if code > _WAIT:
            raise Trap("unsupported callback code")
        if task.deliver_pending_cancel():
            event = TASK_CANCELLED
        elif code == _WAIT:
            wset = instance.handles.get(index)
            if not isinstance(wset, WaitableSet):
                raise Trap(f"handle index {index} is not a waitable set")
            if wset.ready and not instance.returning and not instance.entering:
                event = wset.take_event()  # no other thread waits for entry
            else:
                event = yield _park_for_reentry(task, wset)
        else:
            event = yield _park_for_reentry(task, None)
        (packed,) = yield CallCore(callback, event, _EVENT_PARAMS, _CODE_RESULTS)


def _park_for_reentry(task: Task, wset: WaitableSet | None) -> Until:
    """Release exclusive entry. Return the request before the next callback: for an event, or only for entry."""
    instance = task.instance
    until = UntilReentry(task, wset)
    instance.release()
    if wset is not None:
        wset.waiters.append(until)
    if wset is None or wset.ready:
        instance.returning[until] = None
    return until


class UntilReentry(Until):
    """A request of a call outside core code that waits for entry, and for an event of ``wset`` unless that is None."""

    __slots__ = ("task", "wset")

    def __init__(self, task: Task, wset: WaitableSet | None) -> None:
        super().__init__(False, wset)
        self.enters = True
        self.task = task
        self.wset = wset

    @property
    def due(self) -> bool:
        return self.wset is None or bool(self.wset.ready) or self.task.state is TaskState.PENDING_CANCEL

    def ready(self) -> bool:
        return self.task.instance.exclusive is None and self.due

    def finish(self, cancelled: bool) -> Event:
        task, wset = self.task, self.wset
        instance = task.instance
        if wset is not None:
            wset.waiters.remove(self)
        instance.returning.pop(self, None)
        instance.exclusive = task
        if task.deliver_pending_cancel():
            return TASK_CANCELLED
        return NO_EVENT if wset is None else wset.take_event()


class UntilResolved(Until):
    """A request of a thread of ``instance`` that waits for a call of a destructor.

    The call's task has this object's method ``on_resolve``.
    """

    __slots__ = ("_instance", "_resolved")

    blocks = False

    def __init__(self, instance: ComponentInstance) -> None:
        super().__init__(False)
        self._instance = instance
        self._resolved = False

    def on_resolve(self, outcome: Any) -> None:
        self._resolved = True
        self._instance.scheduler.wake(self)

    def ready(self) -> bool:
        return self._resolved

    def finish(self, cancelled: bool) -> None:
        pass
