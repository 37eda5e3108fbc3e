"""An exchange: one request in the handler."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import islice
from typing import Any, Protocol

import trio

from wasi_trio._texts import get_logger
from wasi_trio.runtime._origins import Origin
from wasi_trio.serve.pool._failures import ExchangeFailed, GuestFailed
from wasi_trio.serve.pool._outcomes import Outcome
from wasi_trio.serve.pool._states import Event, State
from wasi_trio.wasi.http._body import Body, BodyEnd
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

log = get_logger("wasi_trio.serve")


#: The maximum number of requests named in one log line.
_MAX_NAMED = 8


def named(exchanges: Collection[Exchange]) -> str:
    """Return the names of requests for a log line."""
    names = [str(exchange) for exchange in islice(exchanges, _MAX_NAMED)]
    if len(exchanges) > len(names):
        names.append(f"{len(exchanges) - len(names)} more")
    return ", ".join(names) or "no request"


_ANY_TIME = frozenset({Event.RESPOND, Event.FAIL, Event.ABANDON, Event.EXPIRE})
#: The states before a response in which nobody has stopped the guest's work.
_EXPECTED = frozenset({State.QUEUED, State.PLACED, State.WORKING})


class WrongTransition(Exception):
    """The handler sent an event that the exchange's state does not allow."""


class Owner(Protocol):
    """The owner of an exchange: the handler while it is queued, then the strategy of its instance."""

    def responded(self, exchange: Exchange) -> None:
        """Handle the guest's response."""

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Stop the guest's work, because time has run out (``late``) or because the client left."""


class Witness(Protocol):
    """An observer of exchanges."""

    def began(self, exchange: Exchange, instance: int) -> None: ...

    def responded(self, exchange: Exchange) -> None: ...

    def ended(self, exchange: Exchange, left: bool = False) -> None: ...


class RequestTrace(Origin, Protocol):
    """The trace of one request. Each event is reported once, when it happens. All times are trio's."""

    @property
    def ids(self) -> Mapping[str, str]:
        """The identifiers of the request's trace for logs: ``trace_id`` and ``span_id``, or nothing."""

    def instance_made(self, began: float) -> None:
        """Record that an instance was created for the request. ``began`` is the start of its creation."""

    def began(self, instance: str) -> None:
        """Record that a guest is about to be called with the request."""

    def responded(self, exchange: Exchange) -> None:
        """Record the head of the guest's response."""

    def ended(self, exchange: Exchange, outcome: Outcome) -> None:
        """Record the end of the request. Only the guest's remaining work may follow."""


class Exchange:
    """A submitted request and its result.

    Once ``answered`` is true, either ``response`` or ``failure`` is set. Then ``notify``, if set, is called
    synchronously. The response's body may still be incomplete.
    """

    __slots__ = (
        "cause",
        "component",
        "deadline",
        "failure",
        "fallback",
        "instance",
        "notify",
        "observer",
        "owner",
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

    #: The time of submission in trio's time, the name of the handler's component, the number of the instance, a serial
    #: number unique in the handler, and the prefix of both in logs. An observer sets these.
    submitted: float
    component: str
    instance: int | None
    serial: int
    prefix: str

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state = State.QUEUED
        self.response: Response | None = None
        self.failure: ExchangeFailed | None = None
        #: The status for the client if the response cannot be sent. None once its head is on its way.
        self.fallback: int | None = None
        #: Whether HTTP does not allow the response.
        self.refused = False
        #: The exception that ended the guest's work: a trap, or one from a host function.
        self.cause: BaseException | None = None
        #: The deadline of the response's head, in trio's time.
        self.deadline = math.inf
        #: The processor time used by the guest for the request, in seconds, if it is counted.
        self.processor = 0.0
        self.notify: Callable[[], None] | None = None
        self.owner: Owner | None = None
        #: The owner's data about this exchange.
        self.work: Any = None
        #: The observer, until the exchange has ended.
        self.observer: Witness | None = None
        #: The trace of the request, if requests are traced.
        self.trace: RequestTrace | None = None

    # ---- its state ---------------------------------------------------------------------------------------

    def advance(self, event: Event) -> bool:
        """Change the state by an event. Return false if the event came too late. Raise WrongTransition."""
        after = self.state.moves.get(event)
        if after is None:
            if event not in _ANY_TIME:
                raise WrongTransition(f"{event.name} while {self.state.name}")
            return False
        self.state = after
        return True

    @property
    def answered(self) -> bool:
        """Whether the exchange has a response or a failure."""
        return self.state.answered

    @property
    def expected(self) -> bool:
        """Whether a response is still awaited."""
        return self.state in _EXPECTED

    @property
    def abandoned(self) -> bool:
        """Whether the client has left while the guest is not done."""
        return self.state is State.ABANDONED or self.state is State.DROPPED

    @property
    def unread(self) -> bool:
        """Whether no client waits for the response, or for the rest of it."""
        return self.abandoned or (self.response is not None and self.response.body.end is BodyEnd.LEFT)

    @property
    def place_released(self) -> bool:
        """Whether the request has freed its place."""
        return self.state is State.ENDED or self.state is State.CLOSED

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed without the guest's answer, even if the client was not told yet."""
        if self.state is State.OVERDUE:
            return True
        return not self.state.answered and trio.current_time() >= self.deadline

    @property
    def is_replaced(self) -> bool:
        """Whether the client receives something else than the response that the guest began."""
        if self.refused:
            return True
        response = self.response
        if self.fallback is None or response is None or self.abandoned:
            return False
        # Buffered content is still sent, and the guest's status with it.
        return response.body.error is not None and not response.body.buffered

    @property
    def status(self) -> int | None:
        """The status of the answer for the client, or None if the client left before it."""
        response = self.response
        if response is not None:
            return self.fallback if self.is_replaced else response.status
        return None if self.failure is None else self.failure.status

    def about(self, instance: str | None = None) -> dict[str, str]:
        """Return the fields that identify the request in structured logs. ``instance`` is its instance's name."""
        about = {"request": str(self)}
        if hasattr(self, "submitted"):  # an observer has set it
            about["request_id"] = f"{self.prefix}{self.serial}"
            if self.trace is not None:
                about.update(self.trace.ids)
            if instance is None and self.instance is not None:
                instance = f"{self.prefix}{self.instance}"
        if instance is not None:
            about["instance"] = instance
        return about

    def __str__(self) -> str:
        """Return the request's name for a log line."""
        return f"{self.request.method} {self.request.path_with_query or '/'}"

    # ---- transitions -------------------------------------------------------------------------------------

    def respond(self, response: Response) -> None:
        """Accept the guest's response. Close one that comes too late."""
        if not self.advance(Event.RESPOND):
            response.body.close()
            return
        self.response = response
        if self.observer is not None:
            self.observer.responded(self)
        try:
            # The receiver may find that HTTP does not allow the response, so it comes before the owner.
            self._settle()
        finally:
            if self.owner is not None:
                self.owner.responded(self)

    def fail(self, failure: ExchangeFailed, error: HttpError) -> None:
        """Fail the exchange, or cut the response's body with ``error``."""
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
        """Fail the exchange after its deadline, and stop the guest's work."""
        if self.expected:
            self.advance(Event.EXPIRE)
            self._failed(failure, error)
            self._stop(late=True)

    def bound_pauses(self, seconds: float) -> None:
        """Cut the response if the guest makes the reader wait this long for the next part of the body."""
        assert self.response is not None
        body = self.response.body
        body.read_timeout = seconds
        body.on_read_timeout = partial(self._paused, body, seconds)

    def _paused(self, body: Body, seconds: float) -> None:
        failure = f"the guest's response paused for more than {seconds:g} s"
        log.warning("%s: %s", self, failure, extra={"about": self.about()})
        if self.advance(Event.EXPIRE):
            self._stop(late=True)
        body.abort(HttpError("HTTP-response-timeout"))

    def cancel(self) -> None:
        """Abandon the exchange: stop the guest's work, or prevent it."""
        queued = self.state is State.QUEUED
        if not self.advance(Event.ABANDON):
            return
        if self.observer is not None:
            self.observer.ended(self, left=True)
        if queued:
            self._failed(GuestFailed("its client left"), HttpError("internal-error", "its client left"))
        self._stop(late=False)

    def _stop(self, late: bool) -> None:
        if self.owner is not None:
            self.owner.stop(self, late)

    def _settle(self) -> None:
        if self.notify is not None:
            self.notify()

    async def wait(self) -> Response:
        """Wait for the response. Raise ExchangeFailed. Cancellation stops the guest's work."""
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
