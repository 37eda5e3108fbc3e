"""Guest threads as generators, and what they ask of whoever runs them ("Threads" of the Canonical ABI).

Nothing here waits or calls wasm. A thread's generator yields ``CallCore`` and ``Until`` requests, and a ``Scheduler``
answers them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from wasi_trio.component._plan import CoreItem
    from wasi_trio.component.concurrency._lifted import LiftedFunction

#: what a scheduler raises as a Trap when threads wait and nothing is left that could ever wake one
DEADLOCK = "deadlock detected: event loop cannot make further progress"


class CallCore:
    """Asks for a call of a core function of the thread's instance.

    ``args`` are the bits of its arguments; the answer is the list of the bits of its results. ``params`` and
    ``results`` are its core types.
    """

    __slots__ = ("args", "item", "params", "results")

    def __init__(self, item: CoreItem, args: Sequence[int], params: Sequence[str], results: Sequence[str]) -> None:
        self.item = item
        self.args = args
        self.params = params
        self.results = results


class Until:
    """Asks for the thread to be parked until ``ready()``, or until its task is cancelled if ``cancellable``.

    Each kind of wait is a subclass, which provides ``ready`` and ``finish``.

    A thread's generator yields it, and a built-in or lowered import returns it, to park the thread it was called on.
    When the thread goes on, ``finish(cancelled)`` is called, once: its value is sent to the generator, or is the
    built-in's core result. It may call the guest's ``realloc``, so for a built-in it must be called on the guest's
    fiber, just before the result is handed over.

    ``ready`` is cheap and has no effects. Evaluate it once when parking and again for each ``Scheduler.wake``.
    ``thread`` is set while a thread is parked on this.
    """

    __slots__ = ("cancellable", "enters", "source", "thread")

    def __init__(self, cancellable: bool, source: Any = None) -> None:
        self.cancellable = cancellable
        self.thread: Thread | None = None
        #: going on means to take the instance's exclusive entry again (``ComponentInstance.alert``)
        self.enters = False
        #: the waitable set, or the one waitable, whose events are waited for, if any
        self.source = source

    def ready(self) -> bool:
        """Whether the thread can go on."""
        raise NotImplementedError

    def finish(self, cancelled: bool) -> Any:
        """Take what was waited for: the answer to the thread."""
        raise NotImplementedError

    @property
    def awaits_host(self) -> bool:
        """Whether the host could bring about what is waited for, other than by the end of an operation or a call."""
        return self.source is not None and bool(self.source.awaits_host)


#: a thread: answered by the scheduler, ends without a value
Body: TypeAlias = Generator["CallCore | Until", Any, None]


class GuestTask(Protocol):
    """A task, as far as its thread, its instance and the built-ins look at it: see ``Task``."""

    function: LiftedFunction
    on_resolve: Callable[[Any], None]
    storage: list[int]
    counted: bool
    thread: Thread | None

    def return_(self, value: Any) -> None:
        """Resolve to a value."""

    def cancel(self) -> None:
        """Resolve to CANCELLED."""

    def deliver_pending_cancel(self, cancellable: bool) -> bool:
        """Whether the guest is to be told now that it was cancelled."""


class Thread:
    """A guest thread. ``until`` is what it is parked on, None while it runs and when it has ended.

    The scheduler makes and keeps these, and may extend the class.
    """

    __slots__ = ("body", "task", "until")

    def __init__(self, body: Body, task: GuestTask) -> None:
        self.body = body
        self.task = task
        self.until: Until | None = None


class Scheduler(Protocol):
    """Runs threads: what the runtime provides to every ``ComponentInstance`` of a composition."""

    def spawn(self, body: Body, task: GuestTask) -> Thread:
        """Make a thread, set ``task.thread``, and run it inline until it parks or ends.

        What the thread raises is raised here if it happens before that.
        """

    def resume(self, thread: Thread, cancelled: bool) -> None:
        """Unpark a thread that is parked now and run it inline until it parks again or ends."""

    def wake(self, until: Until) -> None:
        """``until`` may have become ready: evaluate it later, after those woken before, and then resume its thread.

        To be ignored for one that nothing is parked on (yet).
        """
