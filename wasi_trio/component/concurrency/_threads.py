"""Guest threads as generators, and their requests to the scheduler ("Threads" of the Canonical ABI).

This module neither waits nor calls wasm. A thread's generator yields ``CallCore`` and ``Until`` requests, and a
``Scheduler`` answers them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    from wasi_trio.component._plan import CoreItem
    from wasi_trio.component.concurrency._lifted import LiftedFunction

#: The message of the Trap that a scheduler raises if threads wait and nothing can wake one.
DEADLOCK = "deadlock detected: event loop cannot make further progress"


class CallCore:
    """A request to call a core function of the thread's instance.

    ``args`` are the bits of the arguments. The answer is the list of the results' bits. ``params`` and ``results`` are
    the function's core types.
    """

    __slots__ = ("args", "item", "params", "results")

    def __init__(self, item: CoreItem, args: Sequence[int], params: Sequence[str], results: Sequence[str]) -> None:
        self.item = item
        self.args = args
        self.params = params
        self.results = results


class Until:
    """A request to park the thread until ``ready()``, or until its task is cancelled if ``cancellable``.

    Each kind of wait is a subclass that provides ``ready`` and ``finish``.

    A thread's generator yields it. A built-in or a lowered import returns it to park the calling thread. When the
    thread continues, ``finish(cancelled)`` is called once. Its value is sent to the generator, or becomes the
    built-in's core result. It may call the guest's ``realloc``. So for a built-in it must be called on the guest's
    fiber, immediately before the result is passed on.

    ``ready`` is cheap and has no side effects. The scheduler evaluates it once when it parks the thread, and once for
    each ``Scheduler.wake``. ``thread`` is set while a thread is parked on this request.
    """

    __slots__ = ("cancellable", "enters", "source", "thread")

    #: Whether the thread blocks, by the specification's terms. If not, it regards its callee as running.
    blocks: ClassVar[bool] = True

    def __init__(self, cancellable: bool, source: Any = None) -> None:
        self.cancellable = cancellable
        self.thread: Thread | None = None
        #: Whether continuing takes the instance's exclusive entry again (``ComponentInstance.alert``).
        self.enters = False
        #: The waitable set or the waitable whose events the thread awaits, or None.
        self.source = source

    def ready(self) -> bool:
        """Return whether the thread can continue."""
        raise NotImplementedError

    def finish(self, cancelled: bool) -> Any:
        """Return the answer to the thread."""
        raise NotImplementedError

    @property
    def due(self) -> bool:
        """Whether the awaited event has come, so that only entry may be missing."""
        return self.source is None or bool(self.source.ready)

    @property
    def awaits_host(self) -> bool:
        """Whether the host can cause the awaited event by other means than the end of an operation or a call."""
        return self.source is not None and bool(self.source.awaits_host)


#: The generator of a thread. The scheduler answers its requests, and it ends without a value.
Body: TypeAlias = Generator["CallCore | Until", Any, None]


class GuestTask(Protocol):
    """The interface of a task for its thread, its instance and the built-ins. See ``Task``."""

    function: LiftedFunction
    #: The callee's ``ComponentInstance``.
    instance: Any
    on_resolve: Callable[[Any], None]
    on_refuse: Callable[[Exception], None] | None
    storage: list[int]
    depth: int
    counted: bool
    thread: Thread | None

    def return_(self, value: Any) -> None:
        """Resolve to a value."""

    def cancel(self) -> None:
        """Resolve to CANCELLED."""


class Thread:
    """A guest thread. ``until`` is the request on which it is parked, or None while it runs and after its end.

    The scheduler creates and keeps threads, and may extend the class.
    """

    __slots__ = ("body", "task", "until")

    def __init__(self, body: Body, task: GuestTask) -> None:
        self.body = body
        self.task = task
        self.until: Until | None = None


class Scheduler(Protocol):
    """Runs threads. The runtime provides it to all component instances of a composition."""

    def spawn(self, body: Body, task: GuestTask) -> Thread:
        """Create a thread, set ``task.thread``, and run the thread inline until it parks or ends.

        Raises any exception that the thread raises before that.
        """

    def resume(self, thread: Thread, cancelled: bool) -> None:
        """Unpark a parked thread and run it inline until it parks again or ends."""

    def wake(self, until: Until) -> None:
        """Evaluate ``until`` later, after those woken earlier, and resume its thread if it is ready.

        Does nothing if no thread is parked on it. A thread that does not block continues before all others.
        """
