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

#: how many calls an instance may have under way at once, unless an embedder says otherwise
MAX_CALLS = 10_000
#: handles that are seen to in one go where there may be any number
SLICE = 500
#: how many threads a guest may have, each with a stack
MAX_THREADS = 1_000

CANNOT_LEAVE = "cannot leave component instance"
CANNOT_ENTER = "cannot enter component instance"
CANNOT_BLOCK = "cannot block a synchronous task before returning"


class ComponentInstance:
    """What a component instance has besides its core instances.

    ``index`` is its part in the plan. ``parent`` is the instance whose component contains this one's, None at the
    root. ``task`` is the task whose core code is running now: the runtime sets it before it enters the guest and
    restores it after, None during instantiation. ``exclusive`` is the call of an ``async`` function that has the
    instance's one stack, ``synchronous`` that of any other function; ``backpressure`` is what the guest has added up.

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
        "parent",
        "returning",
        "scheduler",
        "storage",
        "synchronous",
        "task",
        "threads",
    )

    scheduler: Scheduler

    def __init__(
        self, index: int, handles: HandleTable, scheduler: Scheduler | None, parent: ComponentInstance | None = None
    ) -> None:
        self.index = index
        self.handles = handles
        self.scheduler = scheduler  # type: ignore[assignment]
        self.parent = parent
        self.contexts: dict[Any, Context] = {}
        self.may_leave = True
        self.backpressure = 0
        self.task: GuestTask | None = None
        self.exclusive: GuestTask | None = None
        self.synchronous: GuestTask | None = None
        #: calls held back, in the order they came
        self.entering: OrderedDict[Until, None] = OrderedDict()
        #: those held back that have a stack of their own
        self.entering_beside: OrderedDict[Until, None] = OrderedDict()
        #: threads that have something to go on with and need ``exclusive`` for it, in the order of their events
        self.returning: OrderedDict[Until, None] = OrderedDict()
        #: what context.get/set reach while a core module is being instantiated, which is no task
        self.storage = [0, 0]
        #: calls that the guest has made and that have not returned, and how many there may be
        self.calls = 0
        self.max_calls = MAX_CALLS
        #: calls of its functions under way
        self.threads = 0

    def context(self, options: Options) -> Context:
        """The lifting and lowering context of these options, made when first needed."""
        context = self.contexts.get(options)
        if context is None:
            context = self.contexts[options] = self.new_context(options)
        return context

    def new_context(self, options: Options) -> Context:
        raise NotImplementedError

    # ---- who may call whom -------------------------------------------------------------------------------

    def check_entry(self, caller: ComponentInstance | None) -> None:
        """Raise Trap unless a call from ``caller`` (None for the host) may enter this instance now.

        As in wasmtime, components that contain one another cannot call each other at all, so between guests no
        instance is ever entered twice; what is left to find are calls that the host makes out of a host function.
        """
        if self.task is not None:
            raise Trap(CANNOT_ENTER)
        if caller is None:
            ancestor = self.parent
            while ancestor is not None:
                if ancestor.task is not None:
                    raise Trap(CANNOT_ENTER)
                ancestor = ancestor.parent
        elif self.is_within(caller) or caller.is_within(self):
            raise Trap(CANNOT_ENTER)

    def is_within(self, other: ComponentInstance) -> bool:
        """Whether this instance is ``other`` or belongs to a component inside of its component."""
        instance: ComponentInstance | None = self
        while instance is not None:
            if instance is other:
                return True
            instance = instance.parent
        return False

    def check_leave(self) -> None:
        if not self.may_leave:
            raise Trap(CANNOT_LEAVE)

    def check_block(self) -> GuestTask:
        """The running task, which must be one that may wait: a call of an ``async`` function."""
        task = self.task
        if task is None or not task.function.type.is_async:
            raise Trap(CANNOT_BLOCK)
        return task

    # ---- entering one at a time --------------------------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether a thread could take exclusive entry."""
        return self.exclusive is None and self.synchronous is None

    @property
    def busy(self) -> bool:
        """Whether a call that comes now is held back."""
        return self.backpressure > 0 or not self.free or bool(self.entering)

    def hold_back(self, exclusive: bool = True) -> Until:
        """What a call waits for that has to wait its turn; finishes with whether it was cancelled meanwhile.

        One that is not ``exclusive`` has a stack of its own, and goes in beside those that share the instance's.
        """
        until = HeldBack(self, exclusive)
        until.queue[until] = None
        return until

    def release(self) -> None:
        """Give up exclusive entry."""
        self.exclusive = None
        self.hand_over()

    def hand_over(self) -> None:
        """Wake who may take exclusive entry next: the first to come back, the first to come in."""
        returning = self.returning
        while returning and self.free:
            until = next(iter(returning))
            if until.source is None or until.source.ready:
                self.scheduler.wake(until)
                break
            del returning[until]  # its event has been taken
        if self.backpressure == 0:
            if self.entering:
                self.scheduler.wake(next(iter(self.entering)))
            for until in self.entering_beside:
                self.scheduler.wake(until)

    def alert(self, until: Until) -> None:
        """What ``until`` waits for has happened."""
        if until.enters:
            self.returning[until] = None
            if not self.free:
                return  # to be woken by hand_over
        self.scheduler.wake(until)

    # ---- what waits in Python ----------------------------------------------------------------------------

    def begin_call(self) -> None:
        """The guest makes a call that does not return at once. Raises Trap where too many are under way."""
        if self.calls >= self.max_calls:
            raise Trap(f"too many calls are under way: an instance may have {self.max_calls}")
        self.handles.account.charge(CALL)
        self.calls += 1

    def end_call(self) -> None:
        """Such a call has returned."""
        self.calls -= 1
        self.handles.account.refund(CALL)

    def begin_thread(self) -> None:
        """A call of one of its functions begins, with a stack of its own. Raises Trap where there are too many."""
        if self.threads >= MAX_THREADS:
            raise Trap(f"too many calls of its functions are under way: an instance may have {MAX_THREADS}")
        self.handles.account.charge(THREAD)
        self.threads += 1

    def end_thread(self) -> None:
        """Such a call is over, and all that the guest did for it."""
        self.threads -= 1
        self.handles.account.refund(THREAD)

    def abandon(self) -> Iterator[None]:
        """The instance is gone: let the other ends of its streams and futures know. Its handles stay as they are.

        Yields after so much work that others should have a turn.
        """
        for number, entry in enumerate(self.handles.entries):
            abandon = getattr(entry, "abandon", None)
            if abandon is not None:
                abandon()
            if number % SLICE == SLICE - 1:
                yield


class HeldBack(Until):
    """The wait of a call for its turn."""

    __slots__ = ("exclusive", "instance", "queue")

    def __init__(self, instance: ComponentInstance, exclusive: bool) -> None:
        super().__init__(True)
        self.instance = instance
        self.exclusive = exclusive
        #: those held back in the same way
        self.queue = instance.entering if exclusive else instance.entering_beside

    def ready(self) -> bool:
        instance = self.instance
        if instance.backpressure or instance.synchronous is not None:
            return False
        return not self.exclusive or (instance.exclusive is None and next(iter(self.queue)) is self)

    def finish(self, cancelled: bool) -> bool:
        del self.queue[self]
        if cancelled:
            self.instance.hand_over()
        return cancelled
