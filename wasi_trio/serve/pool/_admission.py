"""The admission of requests: which instance receives one, when an instance starts, and when it retires.

Admission decides by counts alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from wasi_trio.serve.pool._outcomes import Retirement

R = TypeVar("R", bound=Hashable)

#: If an instance has several reasons to retire, the strongest one counts, and the first among equals.
STRENGTH: Final = {
    Retirement.SHUTDOWN: 0,
    Retirement.REUSE_COUNT: 1,
    Retirement.MEMORY: 1,
    Retirement.IDLE: 1,
    Retirement.CANCELLED: 2,
    Retirement.DEADLINE: 2,
    Retirement.CPU_TIME: 3,
    Retirement.TRAP: 3,
    Retirement.EXIT: 3,
    Retirement.HOST_ERROR: 3,
    Retirement.FAILED_TO_START: 3,
}


class Verdict(Enum):
    """The decision about a request."""

    #: The queue is full.
    REFUSE = auto()
    #: The request waits in the queue.
    QUEUE = auto()
    #: An existing instance receives the request.
    ACCEPT = auto()
    #: A new instance receives the request.
    START = auto()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a handler.

    ``requests`` is the maximum number of concurrent requests, and ``queued`` that of waiting ones. An instance serves
    at most ``reuse`` requests, and at most ``at_once`` of them concurrently.
    """

    requests: float = math.inf
    queued: float = math.inf
    reuse: int = 1
    at_once: int = 1


class SharedLimit:
    """A limit on the concurrent requests of several handlers together; no limit by default.

    A handler with waiting requests registers a function in ``waiting``. The function places one of them, if possible.
    """

    __slots__ = ("maximum", "taken", "waiting")

    def __init__(self, maximum: int | None = None) -> None:
        self.maximum: float = math.inf if maximum is None else maximum
        self.taken = 0
        self.waiting: dict[object, Callable[[], bool]] = {}

    @property
    def free(self) -> bool:
        return self.taken < self.maximum

    def fill(self) -> None:
        """Place waiting requests while places are free, one of each handler in turn."""
        idle = 0
        while self.waiting and self.free and idle < len(self.waiting):
            handler, place = next(iter(self.waiting.items()))
            del self.waiting[handler]
            self.waiting[handler] = place
            idle = 0 if place() else idle + 1


class Slot:
    """The counts of one instance."""

    __slots__ = ("load", "number", "ready", "retired", "taken")

    def __init__(self, number: int) -> None:
        #: The instance's number, from 1.
        self.number = number
        #: The number of requests it was given, without those it gave back.
        self.taken = 0
        #: The number of those requests that are not over.
        self.load = 0
        #: Whether the instance itself could begin a request.
        self.ready = True
        #: The reason for which the instance takes no more requests, if it takes none.
        self.retired: Retirement | None = None


def _always() -> bool:
    return True


class Admission(Generic[R]):
    """Counts requests and instances, and decides by these counts.

    A placed request keeps its place until ``release``. It also counts in ``shared_limit``, if given. A request that
    needs a new instance waits while memory is short. An instance is available if it is ``ready`` and its limits admit
    another request. The instance that has been available for longest comes first.
    """

    def __init__(
        self, bounds: Bounds, has_memory: Callable[[], bool] = _always, shared_limit: SharedLimit | None = None
    ) -> None:
        self.bounds = bounds
        #: The limit of this and other handlers together, if any.
        self.shared_limit = shared_limit
        #: Returns whether the memory suffices for another instance.
        self._has_memory = has_memory
        #: The number of placed requests.
        self.active = 0
        #: The number of instances started so far.
        self.started = 0
        self.draining = False
        #: The waiting requests, in order of arrival.
        self.queued: dict[R, None] = {}
        self._available: dict[Slot, None] = {}

    # ---- requests ----------------------------------------------------------------------------------------

    def submit(self, request: R) -> tuple[Verdict, Slot | None]:
        """Decide about a request. Return the instance as well if the request is placed."""
        if self.can_place():
            return self.place()
        if len(self.queued) >= self.bounds.queued:
            return Verdict.REFUSE, None
        self.enqueue(request)
        return Verdict.QUEUE, None

    def can_place(self) -> bool:
        """Return whether a request could be placed now."""
        return self._has_place() and (bool(self._available) or self._has_memory())

    def _has_place(self) -> bool:
        return self.active < self.bounds.requests and (self.shared_limit is None or self.shared_limit.free)

    @property
    def short(self) -> bool:
        """Whether a lack of memory alone prevents the next placement."""
        return self._has_place() and not self.can_place()

    def enqueue(self, request: R) -> None:
        """Add a request to the queue, whatever the queue's limit."""
        self.queued[request] = None

    def place(self) -> tuple[Verdict, Slot]:
        """Place a request. Return ACCEPT with an available instance, or START with a new one."""
        self.active += 1
        if self.shared_limit is not None:
            self.shared_limit.taken += 1
        verdict, slot = Verdict.ACCEPT, next(iter(self._available), None)
        if slot is None:
            verdict = Verdict.START
            self.started += 1
            slot = Slot(self.started)
            if self.draining:
                slot.retired = Retirement.SHUTDOWN
        slot.taken += 1
        slot.load += 1
        self._review(slot)
        return verdict, slot

    def release(self) -> None:
        """Free the place of a finished request."""
        self.active -= 1
        if self.shared_limit is not None:
            self.shared_limit.taken -= 1

    def next_queued(self) -> R | None:
        """Remove the oldest request from the queue and return it, if it can be placed. The caller must place it."""
        if self.queued and self.can_place():
            request = next(iter(self.queued))
            del self.queued[request]
            return request
        return None

    def withdraw(self, request: R) -> None:
        """Remove a request from the queue."""
        self.queued.pop(request, None)

    # ---- instances ---------------------------------------------------------------------------------------

    def done(self, slot: Slot, ready: bool) -> None:
        """Note that an instance is done with a request. ``ready`` says whether it could begin another."""
        slot.load -= 1
        slot.ready = ready
        self._review(slot)

    def give_back(self, slot: Slot, count: int) -> None:
        """Take back requests that an instance has not begun, and free their places."""
        self.undo(slot, count)
        self.active -= count
        if self.shared_limit is not None:
            self.shared_limit.taken -= count

    def undo(self, slot: Slot, count: int = 1) -> None:
        """Uncount requests that an instance has not begun."""
        slot.taken -= count
        slot.load -= count
        self._review(slot)

    def set_ready(self, slot: Slot, ready: bool) -> None:
        """Note whether an instance could begin a request now."""
        slot.ready = ready
        self._review(slot)

    def retire(self, slot: Slot, reason: Retirement) -> None:
        """Give an instance no more requests."""
        if slot.retired is None or STRENGTH[reason] > STRENGTH[slot.retired]:
            slot.retired = reason
        self._review(slot)

    def spent(self, slot: Slot) -> bool:
        """Return whether an instance has taken its maximum number of requests."""
        return slot.taken >= self.bounds.reuse

    def closed(self, slot: Slot) -> bool:
        """Return whether an instance receives no more requests, unless it gives some back."""
        return slot.retired is not None or slot.taken >= self.bounds.reuse

    def drain(self) -> None:
        """Retire every new instance after its first request."""
        self.draining = True

    def _review(self, slot: Slot) -> None:
        bounds = self.bounds
        if slot.ready and slot.retired is None and slot.load < bounds.at_once and slot.taken < bounds.reuse:
            self._available[slot] = None
        else:
            self._available.pop(slot, None)
