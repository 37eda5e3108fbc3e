"""The state of one component instance ("Component Instances" of the Canonical ABI)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wasi_trio.component._account import CALL, THREAD
from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import HandleTable
from wasi_trio.component.concurrency._threads import GuestTask, Scheduler, Until

if TYPE_CHECKING:
    from wasi_trio.component._plan import Options

#: The default maximum of calls that an instance may have in progress.
MAX_CALLS = 10_000
#: Number of handles to process before other tasks get a turn.
SLICE = 500
#: Maximum number of a guest's threads, each of which has a stack.
MAX_THREADS = 1_000

#: Maximum depth of calls between components. Each call adds several Python frames. If Python's recursion limit stops a
#: callback before its first instruction, wasmtime gets an undefined answer.
MAX_DEPTH = 64

TOO_DEEP = f"components call each other more than {MAX_DEPTH} levels deep"
CANNOT_LEAVE = "cannot leave component instance"
CANNOT_BLOCK = "cannot block a synchronous task before returning"


class ComponentInstance:
    """The state of a component instance besides its core instances.

    ``index`` is its part in the plan. ``task`` is the task whose core code is running. The runtime sets it before it
    enters the guest and restores it afterwards. It is None during instantiation. ``exclusive`` is the call of an
    ``async`` function that owns the instance's one stack. ``backpressure`` is the guest's backpressure counter.

    A subclass provides ``new_context``.
    """

    __slots__ = (
        "backpressure",
        "calls",
        "contexts",
        "entering",
        "entering_beside",
        "exclusive",
        "handles",
        "index",
        "max_calls",
        "may_leave",
        "returning",
        "scheduler",
        "storage",
        "task",
        "threads",
    )

    scheduler: Scheduler

    def __init__(self, index: int, handles: HandleTable, scheduler: Scheduler | None) -> None:
        self.index = index
        self.handles = handles
        self.scheduler = scheduler  # type: ignore[assignment]
        self.contexts: dict[Any, Context] = {}
        self.may_leave = True
        self.backpressure = 0
        self.task: GuestTask | None = None
        self.exclusive: GuestTask | None = None
        #: Calls held back by backpressure or by other calls, in the order of their arrival.
        self.entering: OrderedDict[Until, None] = OrderedDict()
        #: Those calls held back that have their own stacks.
        self.entering_beside: OrderedDict[Until, None] = OrderedDict()
        #: Ready threads that need ``exclusive`` to continue, in the order of their events.
        self.returning: OrderedDict[Until, None] = OrderedDict()
        #: The slots of context.get/set during instantiation of a core module, when no task exists.
        self.storage = [0, 0]
        #: The guest's outgoing calls in progress, and their maximum.
        self.calls = 0
        self.max_calls = MAX_CALLS
        #: The calls of the guest's functions in progress.
        self.threads = 0

    def context(self, options: Options) -> Context:
        """Return the lifting and lowering context of these options, which is created at the first use."""
        context = self.contexts.get(options)
        if context is None:
            context = self.contexts[options] = self.new_context(options)
        return context

    def new_context(self, options: Options) -> Context:
        raise NotImplementedError

    def check_leave(self) -> None:
        if not self.may_leave:
            raise Trap(CANNOT_LEAVE)

    # ---- entering one at a time --------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a new call would be held back."""
        return self.backpressure > 0 or self.exclusive is not None or bool(self.entering)

    def hold_back(self, exclusive: bool = True) -> Until:
        """Return the request on which a held-back call parks. It finishes with whether the call was cancelled.

        A call that is not ``exclusive`` has its own stack, and may enter beside those that share the instance's stack.
        """
        until = UntilAdmitted(self, exclusive)
        until.queue[until] = None
        return until

    def release(self) -> None:
        """Give up exclusive entry."""
        self.exclusive = None
        self.hand_over()

    def hand_over(self) -> None:
        """Wake the threads that may take exclusive entry next: the first that returns, and the first that enters."""
        returning = self.returning
        while returning and self.exclusive is None:
            until = next(iter(returning))
            if until.due:
                self.scheduler.wake(until)
                break
            del returning[until]  # another thread has taken its event
        if self.backpressure == 0:
            if self.entering:
                self.scheduler.wake(next(iter(self.entering)))
            for until in self.entering_beside:
                self.scheduler.wake(until)

    def alert(self, until: Until) -> None:
        """Handle the event that ``until`` waits for."""
        if until.enters:
            self.returning[until] = None
            if self.exclusive is not None:
                return  # hand_over wakes it later
        self.scheduler.wake(until)

    # ---- state that waits in Python ----------------------------------------------------------------------

    def begin_call(self) -> None:
        """Count an outgoing call that does not return at once. Raises Trap beyond ``max_calls``."""
        if self.calls >= self.max_calls:
            raise Trap(f"too many calls in progress: an instance may have at most {self.max_calls}")
        self.handles.account.charge(CALL)
        self.calls += 1

    def end_call(self) -> None:
        """Stop counting an outgoing call that has returned."""
        self.calls -= 1
        self.handles.account.refund(CALL)

    def begin_thread(self) -> None:
        """Count a call of a guest's function with its thread. Raises Trap beyond MAX_THREADS."""
        if self.threads >= MAX_THREADS:
            raise Trap(f"too many calls of the instance's functions in progress: there may be at most {MAX_THREADS}")
        self.handles.account.charge(THREAD)
        self.threads += 1

    def end_thread(self) -> None:
        """Stop counting a call whose thread has ended."""
        self.threads -= 1
        self.handles.account.refund(THREAD)

    def abandon(self) -> Iterator[None]:
        """Notify the other ends of streams and futures, because the instance has ended. Its handles do not change.

        Yields at intervals at which other tasks should get a turn.
        """
        for number, entry in enumerate(self.handles.entries):
            abandon = getattr(entry, "abandon", None)
            if abandon is not None:
                abandon()
            if number % SLICE == SLICE - 1:
                yield


class UntilAdmitted(Until):
    """A request of a held-back call that waits for entry."""

    __slots__ = ("exclusive", "instance", "queue")

    def __init__(self, instance: ComponentInstance, exclusive: bool) -> None:
        super().__init__(True)
        self.instance = instance
        self.exclusive = exclusive
        #: The calls that are held back in the same way.
        self.queue = instance.entering if exclusive else instance.entering_beside

    def ready(self) -> bool:
        instance = self.instance
        if instance.backpressure:
            return False
        return not self.exclusive or (instance.exclusive is None and next(iter(self.queue)) is self)

    def finish(self, cancelled: bool) -> bool:
        del self.queue[self]
        if cancelled:
            self.instance.hand_over()
        return cancelled
