"""A worker: a task with a nursery that holds one instance, and serves requests with it until it is used up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from wasi_trio.component.errors import ComponentError, Trap
from wasi_trio.runtime.instance import Instance
from wasi_trio.serve.pool.exchange import (
    DeadlinePassed,
    Exchange,
    ExchangeFailed,
    GuestFailed,
    InstantiationFailed,
    ShuttingDown,
)
from wasi_trio.serve.pool.outcomes import Retirement
from wasi_trio.wasi.context import WasiContext
from wasi_trio.wasi.exit import Exit
from wasi_trio.wasi.http.body import BodyEnd
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.stdio import LinePrefixSink

if TYPE_CHECKING:
    from wasi_trio.serve.pool.handler import ProxyHandler

log = logging.getLogger("wasi_trio.serve")

#: why a request ends that neither the guest nor its client has ended
SHUTTING_DOWN = "the server is shutting down"
BACKGROUND_FAILED = "a task failed that the host ran for the instance"


class Worker:
    """Serves requests with one instance, one after the other.

    It ends when the instance took ``reuse_count`` requests, was idle for ``idle_instance_timeout``, trapped, exited
    or was cancelled in the middle of a request.
    """

    def __init__(self, handler: ProxyHandler, number: int) -> None:
        self.handler = handler
        self.number = number
        #: requests taken so far
        self.taken = 0
        #: whether it got as far as having an instance
        self.made = False
        #: why it ends, once that is known; it is the server's end otherwise
        self.ending: Retirement | None = None
        #: what requests are told that end with it, where it is cancelled
        self.cancelled_for = SHUTTING_DOWN
        self._serving: tuple[Exchange, ...] = ()

    def in_flight(self) -> Sequence[Exchange]:
        """The requests that the instance works on; may be asked on any thread."""
        return self._serving

    async def run(self, first: Exchange) -> None:
        """Make the instance, serve ``first`` and what comes after; returns when the instance is gone."""
        try:
            async with trio.open_nursery() as nursery:
                context = self._context(nursery)
                self.handler.watchdog.watched[context] = self
                try:
                    instance = await self._instantiate(first, context)
                    if instance is not None:
                        self.made = True
                        try:
                            await self._serve_all(instance, first)
                        finally:
                            instance.close()
                finally:
                    del self.handler.watchdog.watched[context]
                    context.finish()
                    nursery.cancel_scope.cancel()
        finally:
            if not first.released:
                self._finish(first, self.cancelled_for)

    def _note_cancellation(self, error: trio.Cancelled) -> None:
        """It is cancelled in the middle: for a task that failed in its nursery, or from outside."""
        if error.source == "nursery":
            self.cancelled_for = BACKGROUND_FAILED

    def _context(self, nursery: trio.Nursery) -> WasiContext:
        wasi = self.handler.options.wasi
        if not self.handler.options.logging_prefix:
            return WasiContext(wasi, nursery=nursery)
        return WasiContext(
            wasi,
            nursery=nursery,
            stdout=LinePrefixSink(wasi.stdout, f"stdout [{self.number}] :: "),
            stderr=LinePrefixSink(wasi.stderr, f"stderr [{self.number}] :: "),
        )

    async def _instantiate(self, exchange: Exchange, context: WasiContext) -> Instance | None:
        """The instance; None, with the exchange failed, where it can not be made."""
        with trio.CancelScope(deadline=exchange.deadline) as scope:
            self._begin(exchange, scope)
            try:
                return await Instance.instantiate(self.handler.component, context, self.handler.options.limits)
            except Exit as exit_:
                reason = f"it exited with code {exit_.code}"
            except ComponentError as error:
                exchange.cause = error
                reason = str(error)
            log.error("instance %d could not be made: %s", self.number, reason)
            failed = InstantiationFailed(f"no instance could be made: {first_line(reason)}")
            self.ending = Retirement.FAILED_TO_START
            exchange.fail(failed, HttpError("internal-error", str(failed)))
        if scope.cancelled_caught:
            self.ending = Retirement.CANCELLED if exchange.finished else Retirement.DEADLINE
        self._finish(exchange, "", timed_out=scope.cancelled_caught)
        return None

    async def _serve_all(self, instance: Instance, first: Exchange) -> None:
        exchange: Exchange | None = first
        while exchange is not None:
            self.taken += 1
            await self._serve(instance, exchange)
            if instance.dead or self.taken >= self.handler.reuse_count:
                self.ending = self.ending or Retirement.REUSE_COUNT
                return
            exchange = await self._next()

    async def _next(self) -> Exchange | None:
        """The next request; None when none came in time, or none will come any more."""
        with trio.move_on_after(self.handler.options.idle_instance_timeout):
            try:
                return await self.handler.work.receive()
            except trio.EndOfChannel:
                return None
        self.ending = Retirement.IDLE
        return None

    async def _serve(self, instance: Instance, exchange: Exchange) -> None:
        reason: str | None = None
        scope = trio.CancelScope(deadline=exchange.deadline)
        try:
            with scope:
                self._begin(exchange, scope)
                if exchange.observer is not None:
                    exchange.observer.began(exchange, self.number)
                instance.expired = lambda: exchange.overdue
                try:
                    await self.handler.calls.call(instance, exchange)
                    reason = "the guest returned without setting a response"
                    if exchange.done:
                        reason = "the guest returned before the end of the response's body"
                except Exit as exit_:
                    self.ending = Retirement.EXIT
                    instance.retire(f"it exited with code {exit_.code}")
                    reason = f"the guest exited with code {exit_.code}"
                except Trap as trap:
                    exchange.cause = trap
                    self.ending = Retirement.DEADLINE if exchange.overdue else Retirement.TRAP
                    reason = f"the guest trapped: {first_line(str(trap))}"
                    log.error("instance %d trapped: %s", self.number, trap)
                except trio.Cancelled as cancelled:
                    self._note_cancellation(cancelled)
                    raise
                except Exception as error:
                    exchange.cause = error
                    self.ending = Retirement.HOST_ERROR
                    reason = f"a host function failed: {type(error).__name__}"
                    log.exception("instance %d: a host function failed", self.number)
            if scope.cancelled_caught:
                left = exchange.finished and not exchange.late
                self.ending = Retirement.CANCELLED if left else Retirement.DEADLINE
        finally:
            self._finish(exchange, reason or self.cancelled_for, timed_out=scope.cancelled_caught)

    def _bound_rest(self, exchange: Exchange, scope: trio.CancelScope) -> None:
        """Give the guest a bounded time for each piece of its response, and for what it does after that was had."""
        response = exchange.response
        assert response is not None
        pause = self.handler.options.body_timeout
        if pause is not None:
            exchange.bound_pauses(pause)
        limit = self.handler.options.post_response_timeout
        if limit is None:
            return

        def ended(end: BodyEnd) -> None:
            scope.deadline = trio.current_time() + limit

        response.body.subscribe_end(ended)

    def _begin(self, exchange: Exchange, scope: trio.CancelScope) -> None:
        exchange.scope = scope
        self._serving = (exchange,)
        exchange.on_response = lambda: self._bound_rest(exchange, scope)
        if exchange.finished:  # its client left before we came to it
            scope.cancel()

    def _finish(self, exchange: Exchange, reason: str, timed_out: bool = False) -> None:
        """No guest works on the exchange any more: whatever is not complete by now never will be."""
        if exchange.observer is not None and exchange.done:
            exchange.observer.ended(exchange)
        left = exchange.finished
        exchange.finished = True
        exchange.scope = exchange.on_cancel = exchange.on_response = None
        response = exchange.response
        # One whose reader has closed it, as with HEAD or where the client has left, was not broken off by the guest.
        cut = response is not None and not response.body.finished and (timed_out or not response.body.closed)
        if not exchange.done or cut:
            failure: ExchangeFailed = (ShuttingDown if reason is SHUTTING_DOWN else GuestFailed)(reason)
            if exchange.overdue and not left:
                failure = DeadlinePassed(f"no response within {self.handler.options.request_timeout:g} s")
            elif timed_out:
                failure = GuestFailed(
                    "its client left" if left else "the guest went on after its response for too long"
                )
            exchange.fail(failure, HttpError("internal-error", str(failure)))
            if not left:
                log.warning("instance %d: %s", self.number, failure)
        elif exchange.failure is not None:
            log.warning("instance %d: %s", self.number, exchange.failure)
        exchange.request.body.close()
        exchange.released = True
        self.handler.release()


def first_line(text: str) -> str:
    return text.split("\n", 1)[0]
