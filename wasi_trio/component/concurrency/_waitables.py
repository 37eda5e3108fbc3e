"""Waitables, waitable sets, and their events ("Waitable State" of the Canonical ABI)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeAlias

from wasi_trio.component._errors import Trap
from wasi_trio.component.concurrency._instance import ComponentInstance
from wasi_trio.component.concurrency._threads import Until

SYNC_AND_ASYNC = "waitable cannot be used synchronously while added to a waitable set"


class EventCode(IntEnum):
    NONE = 0
    SUBTASK = 1
    STREAM_READ = 2
    STREAM_WRITE = 3
    FUTURE_READ = 4
    FUTURE_WRITE = 5
    TASK_CANCELLED = 6


#: A code, and two values whose meaning depends on it.
Event: TypeAlias = tuple[int, int, int]

NO_EVENT: Event = (EventCode.NONE, 0, 0)
TASK_CANCELLED: Event = (EventCode.TASK_CANCELLED, 0, 0)


class Waitable:
    """An element of a handle table with at most one event at a time: a subtask, or an end of a stream or future.

    ``pending`` means that it has an event. The content of the event is determined when the guest takes it.
    """

    __slots__ = ("index", "instance", "pending", "sync_waiter", "wset")

    def __init__(self, instance: ComponentInstance) -> None:
        self.instance = instance
        #: The index of its handle, or 0 if it has none.
        self.index = 0
        self.pending = False
        self.wset: WaitableSet | None = None
        self.sync_waiter: Until | None = None

    def notify(self) -> None:
        """Note a new event, in place of any pending one."""
        if self.pending:
            return
        self.pending = True
        if self.wset is not None:
            self.wset.arrived(self)
        elif self.sync_waiter is not None:
            self.instance.scheduler.wake(self.sync_waiter)

    def settle(self) -> None:
        """Clear the pending event, because the guest takes it."""
        self.pending = False
        if self.wset is not None:
            del self.wset.ready[self]

    def take_event(self) -> Event:
        """Return the pending event, with the side effects of its delivery."""
        raise NotImplementedError

    @property
    def settled(self) -> bool:
        """Return whether a synchronous built-in or call that waits for this can continue."""
        return self.pending

    def wait(self, finish: Callable[[], Any]) -> Until:
        """Return the request on which a synchronous built-in or call parks. Its answer is ``finish()``."""
        until = self.sync_waiter = UntilSettled(self, finish)
        return until

    def take_payload(self) -> int:
        """Take the event, and return its payload without its code and handle index."""
        return self.take_event()[2]

    @property
    def awaits_host(self) -> bool:
        """Whether an event is pending, or the host can cause one by other means than the end of an operation."""
        return self.pending

    def check_sync(self) -> None:
        """Raise Trap if a synchronous wait is not allowed."""
        if self.wset is not None:
            raise Trap(SYNC_AND_ASYNC)

    def join(self, wset: WaitableSet | None) -> None:
        """Move to another set, or to none. Raises Trap during a synchronous wait."""
        if self.sync_waiter is not None:
            raise Trap(SYNC_AND_ASYNC)
        before = self.wset
        if before is not None:
            del before.elems[self]
            before.ready.pop(self, None)
        self.wset = wset
        if wset is not None:
            wset.elems[self] = None
            if self.pending:
                wset.arrived(self)


class UntilSettled(Until):
    """A request of a synchronous built-in or call that waits for one waitable."""

    __slots__ = ("_finish", "_waitable")

    def __init__(self, waitable: Waitable, finish: Callable[[], Any]) -> None:
        super().__init__(False, waitable)
        self._waitable = waitable
        self._finish = finish

    def ready(self) -> bool:
        return self._waitable.settled

    def finish(self, cancelled: bool) -> Any:
        self._waitable.sync_waiter = None
        return self._finish()


class WaitableSet:
    """A set of waitables. Their events are taken in the order of their arrival.

    ``ready`` has the waitables with an event. ``waiters`` has the requests of threads that wait for an event.
    """

    __slots__ = ("elems", "instance", "ready", "waiters")

    def __init__(self, instance: ComponentInstance) -> None:
        self.instance = instance
        self.elems: dict[Waitable, None] = {}
        self.ready: OrderedDict[Waitable, None] = OrderedDict()
        self.waiters: list[Until] = []

    def arrived(self, waitable: Waitable) -> None:
        self.ready[waitable] = None
        for until in self.waiters:
            self.instance.alert(until)

    def take_event(self) -> Event:
        return next(iter(self.ready)).take_event()

    def wait(self, finish: Callable[[Event], Any]) -> Until:
        """Return the request on which a thread in core code parks. Its answer is ``finish(event)``."""
        until = UntilEvent(self, finish)
        self.waiters.append(until)
        return until

    @property
    def awaits_host(self) -> bool:
        """Whether a member has an event, or the host can cause one."""
        return any(waitable.awaits_host for waitable in self.elems)

    def drop(self) -> None:
        if self.waiters:
            raise Trap("cannot drop waitable set with waiters")
        if self.elems:
            raise Trap("cannot drop waitable set with waitables in it")


class UntilEvent(Until):
    """A request of a thread in core code that waits for an event of a set."""

    __slots__ = ("_finish", "_wset")

    def __init__(self, wset: WaitableSet, finish: Callable[[Event], Any]) -> None:
        super().__init__(False, wset)
        self._wset = wset
        self._finish = finish

    def ready(self) -> bool:
        return bool(self._wset.ready)

    def finish(self, cancelled: bool) -> Any:
        self._wset.waiters.remove(self)
        return self._finish(self._wset.take_event())
