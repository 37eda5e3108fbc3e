"""Which instance is given a request, and when one is made, or has had enough: a matter of counts alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from wasi_trio.serve.pool._outcomes import Retirement

R = TypeVar("R", bound=Hashable)

#: of several reasons that an instance has to end, a stronger one counts, and of equal ones the first
STRENGTH: Final = {
    Retirement.SHUTDOWN: 0,
    Retirement.REUSE_COUNT: 1,
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
    """What is to be done with a request."""

    #: there are too many that wait already
    REFUSE = auto()
    #: it waits until others are done
    HOLD = auto()
    #: an instance that there is gets it
    ACCEPT = auto()
    #: an instance is to be made for it
    START = auto()


@dataclass(frozen=True, slots=True)
class Bounds:
    """``requests`` are worked on at once, ``held`` wait beyond that; an instance takes ``reuse``, ``at_once`` of them
    together."""

    requests: float = math.inf
    held: float = math.inf
    reuse: int = 1
    at_once: int = 1


class Places:
    """Bounds the requests that several handlers work on together; None is no bound.

    Who has requests that wait says so in ``waiting``, with what places one of them, if there is a place for it.
    """

    __slots__ = ("limit", "taken", "waiting")

    def __init__(self, limit: int | None = None) -> None:
        self.limit: float = math.inf if limit is None else limit
        self.taken = 0
        self.waiting: dict[object, Callable[[], bool]] = {}

    @property
    def free(self) -> bool:
        return self.taken < self.limit

    def fill(self) -> None:
        """Give places that have become free to requests that wait, one to each handler in turn."""
        idle = 0
        while self.waiting and self.free and idle < len(self.waiting):
            who, place = next(iter(self.waiting.items()))
            del self.waiting[who]
            self.waiting[who] = place
            idle = 0 if place() else idle + 1


class Slot:
    """What admission knows of one instance."""

    __slots__ = ("load", "number", "ready", "retired", "taken")

    def __init__(self, number: int) -> None:
        #: counts from 1
        self.number = number
        #: requests that it was given so far, those that came back not counted
        self.taken = 0
        #: those of them that are not over
        self.load = 0
        #: it could begin a request now, as far as it can know itself
        self.ready = True
        #: why it takes no more requests, once it does not
        self.retired: Retirement | None = None


class Admission(Generic[R]):
    """Counts requests and instances, and decides by that alone.

    A request that was given a place keeps it until ``release``; it counts among ``places``, too, if there are any. One
    that needs another instance has to wait while there is no memory for that. An instance has room while it is
    ``ready`` and its bounds admit one request more; the one that has had room for longest is asked first.
    """

    def __init__(
        self, bounds: Bounds, has_memory: Callable[[], bool] = lambda: True, places: Places | None = None
    ) -> None:
        self.bounds = bounds
        #: those that it has in common with others
        self.places = places
        #: whether there is memory for one instance more
        self._has_memory = has_memory
        #: requests that have a place
        self.active = 0
        #: instances so far
        self.started = 0
        self.draining = False
        #: requests that wait, in the order in which they came
        self.held: dict[R, None] = {}
        self._roomy: dict[Slot, None] = {}

    # ---- requests ----------------------------------------------------------------------------------------

    def submit(self, request: R) -> tuple[Verdict, Slot | None]:
        """What to do with a request and, where it has a place, with which instance."""
        if self.can_place():
            return self.place()
        if len(self.held) >= self.bounds.held:
            return Verdict.REFUSE, None
        self.hold(request)
        return Verdict.HOLD, None

    def can_place(self) -> bool:
        """Whether a request could be given a place now."""
        return self._has_place() and (bool(self._roomy) or self._has_memory())

    def _has_place(self) -> bool:
        return self.active < self.bounds.requests and (self.places is None or self.places.free)

    @property
    def short(self) -> bool:
        """Whether it is for want of memory alone that none can."""
        return self._has_place() and not self.can_place()

    def hold(self, request: R) -> None:
        """Have a request wait, however many do."""
        self.held[request] = None

    def place(self) -> tuple[Verdict, Slot]:
        """Give a request a place: ACCEPT with an instance that has room, or START with a new one."""
        self.active += 1
        if self.places is not None:
            self.places.taken += 1
        verdict, slot = Verdict.ACCEPT, next(iter(self._roomy), None)
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
        """A request is over, and its place free."""
        self.active -= 1
        if self.places is not None:
            self.places.taken -= 1

    def next_held(self) -> R | None:
        """The request that waits for longest, if there is a place for it now; it is to be placed."""
        if self.held and self.can_place():
            request = next(iter(self.held))
            del self.held[request]
            return request
        return None

    def withdraw(self, request: R) -> None:
        """A request that waits does so no more."""
        self.held.pop(request, None)

    # ---- instances ---------------------------------------------------------------------------------------

    def done(self, slot: Slot, ready: bool) -> None:
        """The instance is done with a request, and could now begin another (``ready``), or not."""
        slot.load -= 1
        slot.ready = ready
        self._review(slot)

    def give_back(self, slot: Slot, count: int) -> None:
        """So many requests, which the instance has not begun, are off its hands, and have no place any more."""
        self.undo(slot, count)
        self.active -= count
        if self.places is not None:
            self.places.taken -= count

    def undo(self, slot: Slot, count: int = 1) -> None:
        """So many requests of the instance's count for nothing: it has not begun them."""
        slot.taken -= count
        slot.load -= count
        self._review(slot)

    def set_ready(self, slot: Slot, ready: bool) -> None:
        """Whether the instance could begin a request now."""
        slot.ready = ready
        self._review(slot)

    def retire(self, slot: Slot, reason: Retirement) -> None:
        """Give the instance no more requests."""
        if slot.retired is None or STRENGTH[reason] > STRENGTH[slot.retired]:
            slot.retired = reason
        self._review(slot)

    def spent(self, slot: Slot) -> bool:
        """Whether the instance has taken as many requests as it may."""
        return slot.taken >= self.bounds.reuse

    def closed(self, slot: Slot) -> bool:
        """Whether the instance is given no more requests, unless it gives some back."""
        return slot.retired is not None or slot.taken >= self.bounds.reuse

    def drain(self) -> None:
        """All instances from here on are for what they were made for, and no more."""
        self.draining = True

    def _review(self, slot: Slot) -> None:
        bounds = self.bounds
        if slot.ready and slot.retired is None and slot.load < bounds.at_once and slot.taken < bounds.reuse:
            self._roomy[slot] = None
        else:
            self._roomy.pop(slot, None)
