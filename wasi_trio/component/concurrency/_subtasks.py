"""Subtasks: calls that a guest makes ("Subtask State" and ``canon lower`` of the Canonical ABI).

This module differs from the specification in one point: it lowers a result into the caller's memory when the caller
learns that the call has returned, not when the callee returns. Lowering may call the caller's ``realloc``, and before
that moment the caller may be suspended in the middle of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

from wasi_trio.component import abi
from wasi_trio.component._account import Charge
from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import ResourceHandle
from wasi_trio.component._plan import Lower
from wasi_trio.component._types import ValType
from wasi_trio.component.concurrency._instance import CANNOT_BLOCK, ComponentInstance
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.component.concurrency._tasks import CANCELLED, Task, start_task
from wasi_trio.component.concurrency._threads import Until
from wasi_trio.component.concurrency._waitables import Event, EventCode, UntilSettled, Waitable
from wasi_trio.component.concurrency._weights import varies, weigh


class SubtaskState(IntEnum):
    STARTING = 0
    STARTED = 1
    RETURNED = 2
    CANCELLED_BEFORE_STARTED = 3
    CANCELLED_BEFORE_RETURNED = 4


class HostOperation:
    """A host function's call in progress, which ``HostCallee.start`` returns if it has no value yet.

    The runtime's subclass calls ``resolve`` once, when the operation ends, but not before ``start`` has returned.
    ``cancel`` is called at most once. The operation must still resolve after it.
    """

    __slots__ = ("cancel", "on_resolve")

    def __init__(self, cancel: Callable[[], None]) -> None:
        #: Called when the guest requests an early end.
        self.cancel = cancel
        self.on_resolve: Callable[[Any], None] | None = None

    def resolve(self, outcome: Any) -> None:
        """End the operation with a value or with CANCELLED."""
        # This breaks the reference cycle with the subtask.
        on_resolve, self.on_resolve = self.on_resolve, None
        assert on_resolve is not None
        on_resolve(outcome)


class HostCallee(Protocol):
    """A host function as the callee of ``canon lower``."""

    def start(self, instance: ComponentInstance, arguments: tuple[Any, ...]) -> Any:
        """Begin a call by ``instance``. Return the value if it is ready, otherwise a HostOperation.

        An exception ends the guest's call.
        """


class GuestCallee:
    """A function of another component of the composition as the callee of ``canon lower``.

    ``find(caller)`` returns the instance that implements it.
    """

    __slots__ = ("find", "function")

    def __init__(self, function: LiftedFunction, find: Callable[[ComponentInstance], ComponentInstance]) -> None:
        self.function = function
        self.find = find


Callee: TypeAlias = HostCallee | GuestCallee


class Lowering:
    """A core function through which a guest calls a component function. One exists per linked component.

    Its arguments are the calling instance and the list of core arguments, which it may keep. It returns the core result
    as bits, or None if the function has no result. If it returns an Until, finishing that yields the same.
    """

    __slots__ = (
        "callee",
        "is_async",
        "lift",
        "lower",
        "options",
        "params",
        "part",
        "results",
        "return_pointer",
        "type",
        "varies",
    )

    def __init__(self, lower: Lower, callee: Callee, typed: tuple[ValType, ...] | None = None) -> None:
        """Create the function. ``typed`` are the types of the parameters with Python classes."""
        type_, options = lower.func.type, lower.options
        self.callee = callee
        self.type = type_
        self.part = lower.part
        self.options = options
        self.is_async = options.is_async
        types = tuple(type_ for _, type_ in type_.params)
        limit = abi.MAX_FLAT_ASYNC_PARAMS if options.is_async else abi.MAX_FLAT_PARAMS
        self.params, self.results = abi.core_signature(type_, "lower", options.is_async)
        self.lift = abi.lift_values(
            typed or types, options.encoding, limit, track_lends=options.is_async or abi.needs_lends(type_)
        )
        self.lower = abi.lower_results(
            type_.result,
            options.encoding,
            max_flat=0 if options.is_async else abi.MAX_FLAT_RESULTS,
            instance_index=lower.part,
        )
        count = abi.flat_count(types, limit)
        #: The index of the core argument with the address for the result, or None.
        self.return_pointer = count if len(self.params) > count else None
        self.varies = varies(type_.result)

    def __call__(self, instance: ComponentInstance, flats: Sequence[int]) -> int | Until | None:
        if not instance.may_leave:
            instance.check_leave()
        subtask = Subtask(instance, self, instance.context(self.options), flats)
        callee = self.callee
        if isinstance(callee, GuestCallee):
            task = Task(callee.function, callee.find(instance), subtask.start, subtask.resolve)
            subtask.on_cancel = task.request_cancellation
            start_task(task, instance)
        else:
            if instance.task is None and self.type.is_async and not self.is_async:
                raise Trap(CANNOT_BLOCK)  # the host could not end the operation
            outcome = callee.start(instance, subtask.start())
            if isinstance(outcome, HostOperation):
                subtask.on_cancel = outcome.cancel
                outcome.on_resolve = subtask.resolve
            else:
                subtask.resolve(outcome)
        if subtask.resolved:
            result = subtask.deliver()
            return int(subtask.state) if self.is_async else result
        if self.is_async:
            return subtask.expose()
        if self.type.is_async:
            return subtask.wait(subtask.deliver)
        until = subtask.sync_waiter = UntilReturned(subtask, subtask.deliver)
        return until


class UntilReturned(UntilSettled):
    """A request of a call of a function that is not ``async``. The callee computes, or waits in a host call."""

    __slots__ = ()

    blocks = False


class Subtask(Waitable):
    """One call made through a Lowering.

    ``outcome`` holds the result from the callee's resolution until its delivery to the caller.
    """

    __slots__ = (
        "cancellation_requested",
        "context",
        "delivered",
        "flats",
        "lenders",
        "lowering",
        "on_cancel",
        "outcome",
        "state",
        "weight",
    )

    on_cancel: Callable[[], None]

    def __init__(self, instance: ComponentInstance, lowering: Lowering, context: Context, flats: Sequence[int]) -> None:
        super().__init__(instance)
        self.lowering = lowering
        self.context = context
        self.flats = flats
        self.state = SubtaskState.STARTING
        self.outcome: Any = None
        self.weight: Charge | None = None
        self.delivered = False
        self.cancellation_requested = False
        #: Handles that are lent to the call until its end is delivered.
        self.lenders: Sequence[ResourceHandle] = ()

    @property
    def resolved(self) -> bool:
        return self.state >= SubtaskState.RETURNED

    @property
    def settled(self) -> bool:
        return self.resolved

    # ---- events of the callee -----------------------------------------------------------------------------

    def start(self) -> tuple[Any, ...]:
        """Start the callee: lift its arguments."""
        self.state = SubtaskState.STARTED
        context = self.context
        arguments = self.lowering.lift(context, self.flats)
        if context.lenders:
            self.lenders, context.lenders = context.lenders, []
        if self.index:
            self.notify()
        return arguments

    def resolve(self, outcome: Any) -> None:
        """Handle the callee's resolution with a value or CANCELLED."""
        if self.index:
            self.instance.end_call()
        if outcome is not CANCELLED:
            self.state = SubtaskState.RETURNED
            self.outcome = outcome
            if self.lowering.varies and self.index:
                self.weight = Charge(self.instance.handles.account, weigh(outcome))
        elif self.state is SubtaskState.STARTING:
            self.state = SubtaskState.CANCELLED_BEFORE_STARTED
        else:
            self.state = SubtaskState.CANCELLED_BEFORE_RETURNED
        if self.index:
            self.notify()
        if self.sync_waiter is not None:  # it waits for the end, but the pending event may have been the start
            self.instance.scheduler.wake(self.sync_waiter)

    # ---- the caller's view -------------------------------------------------------------------------------

    def deliver(self) -> int | None:
        """End the lends, lower the result, and return the core result of a synchronous call."""
        self.delivered = True
        for handle in self.lenders:
            handle.lends -= 1
        self.lenders = ()
        if self.state is not SubtaskState.RETURNED:
            return None
        lowering, outcome, self.outcome = self.lowering, self.outcome, None
        self.weight = None
        pointer = 0 if lowering.return_pointer is None else self.flats[lowering.return_pointer]
        core = [0]
        lowering.lower(self.context, core, pointer, outcome)
        return core[0] if lowering.results else None

    def expose(self) -> int:
        """Add a handle for the call. Return the core result of an asynchronous call that has not returned at once."""
        self.instance.begin_call()
        self.index = self.instance.handles.add(self)
        return self.state | self.index << 4

    def take_event(self) -> Event:
        self.settle()
        if self.resolved:
            self.deliver()
        return EventCode.SUBTASK, self.index, int(self.state)
