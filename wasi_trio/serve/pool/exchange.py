"""One request on its way through the handler, and the ways it can fail."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from wasi_trio.serve.pool.outcomes import Outcome
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.http.messages import Request, Response

if TYPE_CHECKING:
    from wasi_trio.serve.pool.observer import Observer

log = logging.getLogger("wasi_trio.serve")


class ExchangeFailed(Exception):
    """No response came of a request. ``status`` is the HTTP status that says so; ``str()`` is one line.

    ``error`` is what a guest that made the request is told; ``retry_after`` after how many seconds a client may try
    again, where that could help.
    """

    status = 500
    outcome = Outcome.GUEST_FAILED
    retry_after: int | None = None
    error: HttpError | None = None


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


class Exchange:
    """A request that was submitted, and what becomes of it.

    Exactly one of ``response`` and ``failure`` is set once ``done`` is true; then ``notify``, if set, is called,
    synchronously. The response's body may still be on its way.
    """

    __slots__ = (
        "cause",
        "deadline",
        "done",
        "failure",
        "finished",
        "instance",
        "late",
        "notify",
        "observer",
        "on_cancel",
        "on_response",
        "released",
        "request",
        "response",
        "scope",
        "submitted",
    )

    #: when, in trio's time, it was submitted, and the number of the instance that works on it; known to an observer
    submitted: float
    instance: int | None

    def __init__(self, request: Request) -> None:
        self.request = request
        self.response: Response | None = None
        self.failure: ExchangeFailed | None = None
        #: what ended the guest's work: the trap, or what a host function raised
        self.cause: BaseException | None = None
        self.done = False
        #: when, in trio's time, the response's head must be there
        self.deadline = math.inf
        #: no guest works on it any more
        self.finished = False
        #: its place among the requests that the handler works on is free again
        self.released = False
        #: a limit of time was what ended it
        self.late = False
        self.notify: Callable[[], None] | None = None
        #: around the guest's work, where that has a task of its own; its deadline is this exchange's
        self.scope: trio.CancelScope | None = None
        #: how else to stop the guest's work
        self.on_cancel: Callable[[], None] | None = None
        #: called when the response is there
        self.on_response: Callable[[], None] | None = None
        #: who is told what becomes of it; none any more once it has ended
        self.observer: Observer | None = None

    def respond(self, response: Response) -> None:
        """The guest's response is there."""
        if not self.done:
            self.response = response
            if self.observer is not None:
                self.observer.responded(self)
            if self.scope is not None:
                self.scope.deadline = math.inf  # it is kept: the body may take its time
            if self.on_response is not None:
                self.on_response()
            self._settle()

    def fail(self, failure: ExchangeFailed, error: HttpError) -> None:
        """There is no response, or its body ends here, short, with ``error``."""
        if not self.done:
            self.failure = failure
            failure.error = error
            if self.observer is not None:
                self.observer.ended(self)
            self._settle()
        elif self.response is not None:
            self.response.body.abort(error)

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed without a response."""
        return not self.done and trio.current_time() >= self.deadline

    def bound_pauses(self, seconds: float) -> None:
        """End the exchange if the guest lets the reader of its response wait so long for the next piece."""
        assert self.response is not None
        body = self.response.body

        def late() -> None:
            failure = f"the guest's response paused for more than {seconds:g} s"
            log.warning("%r: %s", self.request, failure)
            self.late = True
            stop = self.on_cancel or self.cancel  # the end of the body may be the end of this
            body.abort(HttpError("HTTP-response-timeout"))
            stop()

        body.patience = seconds
        body.on_late = late

    def _settle(self) -> None:
        self.done = True
        if self.notify is not None:
            self.notify()

    def cancel(self) -> None:
        """Nobody wants the response any more: stop the guest's work, now or before it begins."""
        self.finished = True
        if self.observer is not None:
            self.observer.ended(self, left=True)
        if self.scope is not None:
            self.scope.cancel()
        if self.on_cancel is not None:
            self.on_cancel()

    async def wait(self) -> Response:
        """The response, once it is there; raises ExchangeFailed. Cancelling it stops the guest's work."""
        if not self.done:
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
