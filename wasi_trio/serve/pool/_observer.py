"""The reports on requests and instances: log lines, metrics, traces and listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import trio

from wasi_trio._texts import get_logger
from wasi_trio.runtime._containment import split
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._outcomes import Outcome, Retirement
from wasi_trio.serve.pool._tracing import RequestStream, Tracer
from wasi_trio.wasi._stdio import StdoutSink

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import HandlerMetrics

log = get_logger("wasi_trio.serve")


class Listener(Protocol):
    """Receives the events of one handler, synchronously. Its methods must return quickly and raise nothing.

    Instances are identified by their numbers, which count from 1.
    """

    def instance_started(self, number: int) -> None:
        """Handle the start of an instance's creation."""

    def began(self, instance: int) -> None:
        """Handle the imminent call of an instance with a request."""

    def instance_ended(self, number: int, reason: Retirement) -> None:
        """Handle the end of an instance, or the failure of its creation."""

    def idle(self) -> None:
        """Handle the end of the last active request, or of a guest's last work after it. May be called repeatedly."""


@runtime_checkable
class Eavesdropper(Protocol):
    """A listener that also reads the output of each instance."""

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        """Return the sinks for an instance, in the place of these."""


class Observer:
    """Observes the requests and instances of one handler.

    A handler has an observer only if it has metrics, a tracer or listeners, or if INFO lines are logged. For a request,
    ``submitted`` comes first and ``ended`` last. Reports after ``ended`` are ignored.
    """

    def __init__(
        self,
        component: str,
        metrics: HandlerMetrics | None,
        listeners: Sequence[Listener] = (),
        prefix: str = "",
        tracer: Tracer | None = None,
    ) -> None:
        self._component = component
        #: The prefix of instance numbers in logs.
        self._prefix = prefix
        self._metrics = metrics
        self._listeners = listeners
        self._tracer = tracer
        self._serials = count(1)

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        """Return the sinks for an instance, in the place of these."""
        for listener in self._listeners:
            if isinstance(listener, Eavesdropper):
                stdout, stderr = listener.sinks(instance, stdout, stderr)
        return stdout, stderr

    def submitted(self, exchange: Exchange, stream: RequestStream | None = None) -> None:
        """Report a request that came to the handler."""
        exchange.observer = self
        exchange.submitted = trio.current_time()
        exchange.component, exchange.instance = self._component, None
        exchange.serial = next(self._serials)
        exchange.prefix = self._prefix
        if self._tracer is not None:
            exchange.trace = self._tracer.begin(exchange, stream)

    def began(self, exchange: Exchange, instance: int) -> None:
        """Report that a guest is about to be called with a request."""
        exchange.instance = instance
        if self._metrics is not None:
            self._metrics.wait_seconds.observe(trio.current_time() - exchange.submitted)
        if exchange.trace is not None:
            exchange.trace.began(f"{self._prefix}{instance}")
        if self._listeners:
            self._tell(lambda listener: listener.began(instance))

    def responded(self, exchange: Exchange) -> None:
        """Report the head of the guest's response."""
        if self._metrics is not None:
            self._metrics.response_seconds.observe(trio.current_time() - exchange.submitted)
        if exchange.trace is not None:
            exchange.trace.responded(exchange)

    def ended(self, exchange: Exchange, left: bool = False) -> None:
        """Report the end of a request: it failed, its guest is done, or the client has left (``left``)."""
        exchange.observer = None
        outcome = _outcome(exchange, left)
        metrics = self._metrics
        if metrics is not None:
            key = outcome, _status_class(exchange)
            metrics.requests[key] = metrics.requests.get(key, 0) + 1
        if exchange.trace is not None:
            exchange.trace.ended(exchange, outcome)
        if log.isEnabledFor(logging.INFO):
            request = exchange.request
            log.info(
                "%s %s %s in %.1f ms, %s: %s",
                request.method,
                request.path_with_query or "/",
                exchange.status or "-",
                (trio.current_time() - exchange.submitted) * 1000,
                "no instance" if exchange.instance is None else f"instance {self._prefix}{exchange.instance}",
                outcome.value,
                extra={"about": exchange.about()},
            )

    def instance_started(self, number: int) -> None:
        """Report a new worker, which will create its instance."""
        if self._metrics is not None:
            self._metrics.started += 1
        self._tell(lambda listener: listener.instance_started(number))
        log.info("instance %s%d of %s starts", self._prefix, number, self._component, extra=self._about(number))

    def instance_ended(self, number: int, taken: int | None, reason: Retirement) -> None:
        """Report the end of an instance. ``taken`` is the number of its requests, or None if it was never created."""
        metrics = self._metrics
        if metrics is not None:
            metrics.retired[reason] += 1
            if taken is not None:
                metrics.reuse.observe(taken)
        self._tell(lambda listener: listener.instance_ended(number, reason))
        log.info(
            "instance %s%d of %s ended after %d %s: %s",
            self._prefix,
            number,
            self._component,
            taken or 0,
            "request" if taken == 1 else "requests",
            reason.value,
            extra=self._about(number),
        )

    def _about(self, number: int) -> dict[str, dict[str, str]]:
        return {"about": {"instance": f"{self._prefix}{number}"}}

    def idle(self) -> None:
        """Report the end of the last active request."""
        self._tell(lambda listener: listener.idle())

    def _tell(self, tell: Callable[[Listener], None]) -> None:
        """Call all listeners. Log the failure of one, and continue."""
        for listener in self._listeners:
            try:
                tell(listener)
            except BaseException as error:
                failure, passing = split(error)
                log.error("A listener failed: %r", listener, exc_info=failure)
                if passing is not None:
                    raise passing from None


def _outcome(exchange: Exchange, left: bool) -> Outcome:
    if exchange.failure is not None:
        return exchange.failure.outcome
    response = exchange.response
    if response is None:
        return Outcome.CLIENT_LEFT
    if exchange.is_replaced:
        return Outcome.GUEST_FAILED
    body = response.body
    if body.error is not None:
        return Outcome.CUT
    if left:
        return Outcome.CLIENT_LEFT
    if body.finished or exchange.request.method == "HEAD" or response.status in (204, 304):
        return Outcome.OK
    return Outcome.CLIENT_LEFT if body.closed else Outcome.CUT


def _status_class(exchange: Exchange) -> str:
    status = exchange.status
    return "none" if status is None else f"{status // 100}xx"
