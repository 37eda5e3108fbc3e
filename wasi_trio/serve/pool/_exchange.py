"""One request on its way through the handler: the states it goes through, and the ways it can fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from enum import Enum, IntEnum
from itertools import islice
from typing import Any, Final, Protocol

import trio

from wasi_trio._texts import get_logger
from wasi_trio.runtime._origins import Origin
from wasi_trio.serve.pool._outcomes import Outcome
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

log = get_logger("wasi_trio.serve")


class ExchangeFailed(Exception):
    """No response came of a request. ``status`` is the HTTP status that says so; ``str()`` is one line.

    ``error`` is what a guest that made the request is told; ``retry_after`` after how many seconds a client may try
    again, where that could help.
    """

    status = 500
    outcome = Outcome.GUEST_FAILED
    retry_after: int | None = None
    error: HttpError | None = None


#: requests that one line of the log names
_MOST_NAMED = 8


def named(exchanges: Collection[Exchange]) -> str:
    """Requests in a line of the log."""
    names = [str(exchange) for exchange in islice(exchanges, _MOST_NAMED)]
    if len(exchanges) > len(names):
        names.append(f"{len(exchanges) - len(names)} more")
    return ", ".join(names) or "no request"


class GuestFailed(ExchangeFailed):
    """The guest trapped, exited, or returned without a response."""


class InstantiationFailed(ExchangeFailed):
    """No instance could be made for the request."""

    status = 503
    outcome = Outcome.INSTANTIATION_FAILED


class Overloaded(ExchangeFailed):
    """More requests wait than may."""

    status = 503
    outcome = Outcome.OVERLOADED
    retry_after = 1


class ShuttingDown(ExchangeFailed):
    """The handler ended before the guest had answered."""

    status = 503
    outcome = Outcome.SHUTDOWN
    retry_after = 1


class DeadlinePassed(ExchangeFailed):
    """The guest had not answered by the request's deadline."""

    status = 504
    outcome = Outcome.DEADLINE


class CpuTimeExceeded(ExchangeFailed):
    """The guest used more processor time for the request than it may."""

    status = 503
    outcome = Outcome.CPU_TIME


class Event(IntEnum):
    """What moves an exchange from one state to another."""

    #: an instance is to get it, or is to be made for it
    PLACE = 1
    #: a guest is called with it
    BEGIN = 2
    #: the guest has given its response's head
    RESPOND = 3
    #: there will be no response
    FAIL = 4
    #: nobody wants the response any more
    LEAVE = 5
    #: a limit of time has passed: that of the response's head, or after it that of a pause in the body
    EXPIRE = 6
    #: no guest works on it any more
    END = 7
    #: the response has ended early, and its place is free; the guest may go on as after any response
    CLOSE = 8
    #: it has to wait again, because there is no memory for an instance
    HOLD = 9


class State(Enum):
    """Where an exchange is; ``TABLE`` says how it moves on. Answered means that it has a response or a failure."""

    answered: bool
    moves: Mapping[Event, State]

    def __init__(self, number: int, answered: bool) -> None:
        self.answered = answered

    #: it waits until others are done
    HELD = 1, False
    #: it has a place among those worked on, and waits for its instance
    PLACED = 2, False
    #: a guest works on it
    WORKING = 3, False
    #: the response's head is there, and the guest goes on
    RESPONDED = 4, True
    #: it failed, and the guest, or the making of its instance, may go on
    FAILED = 5, True
    #: nobody wants it, and no response came before that: the guest's work is being stopped
    LEFT = 6, False
    #: the same after it was answered
    DROPPED = 7, True
    #: there was no response in time: it failed, and the guest's work is being stopped
    OVERDUE = 8, True
    #: the response paused for too long: it is cut, and the guest's work is being stopped
    STALLED = 9, True
    #: its place is free; the guest may go on although its response has ended early, but not if the client has left
    CLOSED = 10, True
    #: its place is free
    ENDED = 11, True


#: where each event leads. RESPOND, FAIL, LEAVE and EXPIRE come from all sides, and change nothing where they are not
#: listed: they came too late. Others are the handler's own, and wrong there.
TABLE: Final[Mapping[State, Mapping[Event, State]]] = {
    State.HELD: {
        Event.PLACE: State.PLACED,
        Event.FAIL: State.ENDED,
        Event.LEAVE: State.ENDED,
        Event.EXPIRE: State.ENDED,
    },
    State.PLACED: {
        Event.PLACE: State.PLACED,
        Event.HOLD: State.HELD,
        Event.BEGIN: State.WORKING,
        Event.FAIL: State.FAILED,
        Event.LEAVE: State.LEFT,
        Event.EXPIRE: State.OVERDUE,
    },
    State.WORKING: {
        Event.RESPOND: State.RESPONDED,
        Event.FAIL: State.FAILED,
        Event.LEAVE: State.LEFT,
        Event.EXPIRE: State.OVERDUE,
    },
    State.RESPONDED: {
        Event.LEAVE: State.DROPPED,
        Event.EXPIRE: State.STALLED,
        Event.CLOSE: State.CLOSED,
        Event.END: State.ENDED,
    },
    State.FAILED: {Event.LEAVE: State.DROPPED, Event.END: State.ENDED},
    State.LEFT: {Event.PLACE: State.LEFT, Event.FAIL: State.DROPPED},
    State.DROPPED: {Event.CLOSE: State.ENDED, Event.END: State.ENDED},
    State.OVERDUE: {Event.PLACE: State.OVERDUE, Event.END: State.ENDED},
    State.STALLED: {Event.CLOSE: State.ENDED, Event.END: State.ENDED},
    State.CLOSED: {Event.LEAVE: State.ENDED},
    State.ENDED: {},
}
for _state, _moves in TABLE.items():
    _state.moves = _moves

_ANY_TIME = frozenset({Event.RESPOND, Event.FAIL, Event.LEAVE, Event.EXPIRE})
#: those in which nobody has asked for the guest's work to be stopped and there is no response yet
_EXPECTED = frozenset({State.HELD, State.PLACED, State.WORKING})


class WrongTransition(Exception):
    """The handler made a mistake about an exchange's state."""


class Keeper(Protocol):
    """Who has an exchange: the handler that holds it, or what runs its instance."""

    def responded(self, exchange: Exchange) -> None:
        """The guest's response is there."""

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Stop the guest's work on it, because time has run out (``late``) or because nobody wants it."""


class Witness(Protocol):
    """Is told what becomes of exchanges."""

    def began(self, exchange: Exchange, instance: int) -> None: ...

    def responded(self, exchange: Exchange) -> None: ...

    def ended(self, exchange: Exchange, left: bool = False) -> None: ...


class RequestTrace(Origin, Protocol):
    """Follows one request. What is told is told once, as it happens; all times are trio's."""

    @property
    def ids(self) -> Mapping[str, str]:
        """What tells the request's trace and span from others in logs: ``trace_id`` and ``span_id``, or nothing."""

    def instance_made(self, began: float) -> None:
        """An instance has been made for the request, since ``began``."""

    def began(self, instance: str) -> None:
        """A guest is about to be called with it."""

    def responded(self, exchange: Exchange) -> None:
        """The head of the guest's response is there."""

    def ended(self, exchange: Exchange, outcome: Outcome) -> None:
        """Nothing more will be told but of what the guest goes on with."""


class Exchange:
    """A request that was submitted, and what becomes of it.

    Exactly one of ``response`` and ``failure`` is set once ``answered`` is true; then ``notify``, if set, is called,
    synchronously. The response's body may still be on its way.
    """

    __slots__ = (
        "cause",
        "component",
        "deadline",
        "failure",
        "fallback",
        "instance",
        "keeper",
        "notify",
        "observer",
        "prefix",
        "processor",
        "refused",
        "request",
        "response",
        "serial",
        "state",
        "submitted",
        "trace",
        "work",
    )

    #: when, in trio's time, it was submitted, the name of the handler's component, the number of the instance that
    #: works on it, a number that tells it from all others of its handler, and what stands before both in logs; an
    #: observer sets these
    submitted: float
    component: str
    instance: int | None
    serial: int
    prefix: str

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state = State.HELD
        self.response: Response | None = None
        self.failure: ExchangeFailed | None = None
        #: the status that the client is told if the response turns out to be none; None once its head is on its way
        self.fallback: int | None = None
        #: HTTP does not have such a response
        self.refused = False
        #: what ended the guest's work: the trap, or what a host function raised
        self.cause: BaseException | None = None
        #: when, in trio's time, the response's head must be there
        self.deadline = math.inf
        #: seconds of processor time that its guest has used for it, where they are counted
        self.processor = 0.0
        self.notify: Callable[[], None] | None = None
        self.keeper: Keeper | None = None
        #: what its keeper has for it alone
        self.work: Any = None
        #: who is told what becomes of it; none any more once it has ended
        self.observer: Witness | None = None
        #: follows it, where requests are traced
        self.trace: RequestTrace | None = None

    # ---- its state ---------------------------------------------------------------------------------------

    def advance(self, event: Event) -> bool:
        """Go on to the state that the event leads to; false where it came too late. Raises WrongTransition."""
        after = self.state.moves.get(event)
        if after is None:
            if event not in _ANY_TIME:
                raise WrongTransition(f"{event.name} while {self.state.name}")
            return False
        self.state = after
        return True

    @property
    def answered(self) -> bool:
        """Whether there is a response, or there will be none."""
        return self.state.answered

    @property
    def expected(self) -> bool:
        """Whether a response may still come that somebody wants."""
        return self.state in _EXPECTED

    @property
    def left(self) -> bool:
        """Whether nobody wants the response, and the guest is not done with it."""
        return self.state is State.LEFT or self.state is State.DROPPED

    @property
    def over(self) -> bool:
        """Whether its place among the requests that are worked on is free again."""
        return self.state is State.ENDED or self.state is State.CLOSED

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed without an answer of the guest's, be its client told of that yet or not."""
        if self.state is State.OVERDUE:
            return True
        return not self.state.answered and trio.current_time() >= self.deadline

    @property
    def is_replaced(self) -> bool:
        """Whether its client is told something else than the response that the guest began."""
        if self.refused:
            return True
        response = self.response
        if self.fallback is None or response is None or self.left:
            return False
        # What there is of the content goes out yet, and with it the guest's status.
        return response.body.error is not None and not response.body.buffered

    @property
    def status(self) -> int | None:
        """That of the answer that its client is given; None where it left before."""
        response = self.response
        if response is not None:
            return self.fallback if self.is_replaced else response.status
        return None if self.failure is None else self.failure.status

    def about(self, instance: str | None = None) -> dict[str, str]:
        """What tells the request from others in logs for programs; ``instance`` is its instance's name, if known."""
        about = {"request": str(self)}
        if hasattr(self, "submitted"):  # it is observed, or was
            about["request_id"] = f"{self.prefix}{self.serial}"
            if self.trace is not None:
                about.update(self.trace.ids)
            if instance is None and self.instance is not None:
                instance = f"{self.prefix}{self.instance}"
        if instance is not None:
            about["instance"] = instance
        return about

    def __str__(self) -> str:
        """The request in a line of the log."""
        return f"{self.request.method} {self.request.path_with_query or '/'}"

    # ---- what moves it -----------------------------------------------------------------------------------

    def respond(self, response: Response) -> None:
        """The guest's response is there; one that comes too late is closed."""
        if not self.advance(Event.RESPOND):
            response.body.close()
            return
        self.response = response
        if self.observer is not None:
            self.observer.responded(self)
        try:
            # First, as who sends it may find that HTTP does not have such a response.
            self._settle()
        finally:
            if self.keeper is not None:
                self.keeper.responded(self)

    def fail(self, failure: ExchangeFailed, error: HttpError) -> None:
        """There is no response, or its body ends here, short, with ``error``."""
        if not self.state.answered:
            self.advance(Event.FAIL)
            self._failed(failure, error)
        elif self.response is not None:
            self.response.body.abort(error)

    def _failed(self, failure: ExchangeFailed, error: HttpError) -> None:
        self.failure = failure
        failure.error = error
        if self.observer is not None:
            self.observer.ended(self)
        self._settle()

    def expire(self, failure: ExchangeFailed, error: HttpError) -> None:
        """Its deadline has passed without a response: it fails, and the guest's work on it is stopped."""
        if self.expected:
            self.advance(Event.EXPIRE)
            self._failed(failure, error)
            self._stop(late=True)

    def bound_pauses(self, seconds: float) -> None:
        """Cut the response if the guest lets its reader wait so long for the next piece."""
        assert self.response is not None
        body = self.response.body

        def late() -> None:
            failure = f"the guest's response paused for more than {seconds:g} s"
            log.warning("%s: %s", self, failure, extra={"about": self.about()})
            if self.advance(Event.EXPIRE):
                self._stop(late=True)
            body.abort(HttpError("HTTP-response-timeout"))

        body.read_timeout = seconds
        body.on_read_timeout = late

    def cancel(self) -> None:
        """Nobody wants the response any more: stop the guest's work, now or before it begins."""
        held = self.state is State.HELD
        if not self.advance(Event.LEAVE):
            return
        if self.observer is not None:
            self.observer.ended(self, left=True)
        if held:
            self._failed(GuestFailed("its client left"), HttpError("internal-error", "its client left"))
        self._stop(late=False)

    def _stop(self, late: bool) -> None:
        if self.keeper is not None:
            self.keeper.stop(self, late)

    def _settle(self) -> None:
        if self.notify is not None:
            self.notify()

    async def wait(self) -> Response:
        """The response, once it is there; raises ExchangeFailed. Cancelling it stops the guest's work."""
        if not self.state.answered:
            event = trio.Event()
            self.notify = event.set
            try:
                await event.wait()
            except BaseException:
                self.cancel()
                raise
            finally:
                self.notify = None
        if self.failure is not None:
            raise self.failure
        assert self.response is not None
        return self.response
