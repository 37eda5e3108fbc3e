"""A worker whose instance takes several requests at once (WASI 0.3)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from wasi_trio.component.concurrency.tasks import CANCELLED
from wasi_trio.component.errors import Trap
from wasi_trio.runtime.instance import Instance
from wasi_trio.runtime.pump import Call, Pump
from wasi_trio.runtime.store import Store
from wasi_trio.serve.exchange import Exchange, GuestFailed
from wasi_trio.serve.guest import ServiceHandler
from wasi_trio.serve.outcomes import Retirement
from wasi_trio.serve.worker import SHUTTING_DOWN, Worker, first_line
from wasi_trio.wasi.exit import Exit
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.p3.http import outgoing_response, refuse_response

if TYPE_CHECKING:
    from wasi_trio.serve.handler import ProxyHandler

log = logging.getLogger("wasi_trio.serve")

#: why a request ends whose guest has returned without having ended its response, or waits for itself
STUCK = "the guest has left it unfinished, and nothing that runs or comes could finish it"


#: seconds that a guest may wait to answer a request for nothing but another request, which it may let it know of itself
ANSWER_BY_ANOTHER = 600.0


def _awaits_guest(exchange: Exchange) -> bool:
    """Whether it is for the guest to answer it, or to end its response."""
    if not exchange.done:
        return True
    response = exchange.response
    return response is not None and response.body.awaits_guest is not None and response.body.awaits_guest()


class ConcurrentWorker(Worker):
    """Serves up to ``concurrent_count`` requests at a time with one instance.

    It takes on a request only while the guest asks for no backpressure and no task in it computes: one task that
    computes is enough for an instance. While it has room it is among the handler's ``roomy`` workers, which are
    offered requests. Those wait in its inbox for the instance's turn; what is still there when the instance turns
    out to be busy goes back to the handler.

    It ends like any worker; requests under way, and what a guest does after its last response, are let finish first,
    unless the instance failed.
    """

    _calls: ServiceHandler
    _instance: Instance
    _store: Store

    def __init__(self, handler: ProxyHandler, number: int) -> None:
        super().__init__(handler, number)
        self.taken = 1
        self._exchanges: dict[Exchange, Call] = {}
        self._inbox: deque[Exchange] = deque()
        #: those in either, and the first while its instance is being made
        self._load = 1
        self._pump: Pump | None = None
        #: it takes on no more requests
        self._retiring = False
        #: the guest goes on for too long with a request that is over: nothing but other requests is waited for
        self._given_up = False
        #: calls whose requests are over, but which the guest may go on with, since it last was at leisure
        self._over: list[Call] = []
        #: those that it was seen to go on with, and until when it may
        self._lingering: deque[tuple[float, Call]] = deque()
        #: a task of it computes, or holds up all others
        self._computes = False
        self._idle_since = trio.current_time()
        #: set when there is no request any more, if the task that looks after idleness waits for that
        self._became_idle: trio.Event | None = None
        #: only a further request could have the guest go on with any that it has
        self._stuck = False
        self._set_roomy(self._has_room())

    def in_flight(self) -> Sequence[Exchange]:
        return list(self._exchanges) or self._serving

    async def run(self, first: Exchange) -> None:
        self._set_roomy(False)  # not before the instance is there: making it may take long
        ended = False
        try:
            await super().run(first)
            ended = True
        finally:
            self._retiring = True
            self._set_roomy(False)
            if ended or self.cancelled_for is not SHUTTING_DOWN:
                self._give_back()
            for exchange in self._inbox:
                self._finish(exchange, SHUTTING_DOWN)

    async def _serve_all(self, instance: Instance, first: Exchange) -> None:
        pump = self._pump = instance.pump
        assert pump is not None
        calls = self.handler.calls
        assert isinstance(calls, ServiceHandler)
        store = instance.stores[calls.export.part]
        assert store is not None
        self._calls, self._instance, self._store = calls, instance, store
        pump.on_idle = self._at_leisure
        pump.on_busy = self._when_busy
        instance.expired = self._runs_overdue
        self._accept(first)
        if not self._is_used_up():
            pump.nursery.start_soon(self._retire_when_idle)
        try:
            await pump.run()
        finally:
            self._fail_all(pump.failure)

    # ---- taking on requests ------------------------------------------------------------------------------

    def offer(self, exchange: Exchange) -> None:
        """Take on a request; only to be called on one of the handler's ``roomy`` workers."""
        self.taken += 1
        self._load += 1
        self._inbox.append(exchange)
        if not self._has_room():
            self._set_roomy(False)
        if self._pump is not None:
            self._pump.alert()

    def retire(self) -> None:
        """Take on no more requests."""
        self._retiring = True
        self._set_roomy(False)
        self.look_again()

    def look_again(self) -> None:
        """See whether its requests can be finished under the circumstances as they are now."""
        if self._pump is not None:
            self._pump.alert()

    def _has_room(self) -> bool:
        """Whether limits admit one more request."""
        handler = self.handler
        return not self._retiring and self._load < handler.concurrent_count and self.taken < handler.reuse_count

    def _is_used_up(self) -> bool:
        return self._retiring or self.taken >= self.handler.reuse_count

    def _set_roomy(self, roomy: bool) -> None:
        if roomy:
            self.handler.roomy[self] = None
        else:
            self.handler.roomy.pop(self, None)

    def _at_leisure(self) -> bool:
        """No thread of the instance can go on: begin a request, or leave; whether either was done."""
        pump = self._pump
        assert pump is not None
        self._computes = False
        if self._over:
            self._bound_rests()
        if self._inbox:
            if not self._store.busy and not self._given_up:
                self._accept(self._inbox.popleft())
                return True
            self._give_back()
        stalled = pump.stalled
        if stalled and self._exchanges:
            unfinished = [exchange for exchange in self._exchanges if _awaits_guest(exchange)]
            self._note_stuck(len(unfinished) == len(self._exchanges))
            if self._is_used_up() or self.handler.draining:
                for exchange in unfinished:
                    self._finish_one(exchange, STUCK)
        else:
            self._note_stuck(False)
        if self._is_used_up() and not self._exchanges and (pump.idle or stalled or self._given_up):
            if self.taken >= self.handler.reuse_count:
                self.ending = self.ending or Retirement.REUSE_COUNT
            pump.stop()
        self._set_roomy(self._has_room() and not self._store.busy)
        return False

    def _when_busy(self) -> None:
        self._computes = True
        if self._over:
            self._bound_rests()
        self._set_roomy(False)
        if self._inbox:
            self._give_back()

    def _give_back(self) -> None:
        inbox, self._inbox = self._inbox, deque()
        self.taken -= len(inbox)
        self._relieve(len(inbox))
        self._set_roomy(False)
        for exchange in inbox:
            self.handler.dispatch_again(exchange)

    def _accept(self, exchange: Exchange) -> None:
        exchange.scope = None
        if exchange.finished:  # its client left before we came to it
            self.taken -= 1
            self._relieve(1)
            self._finish(exchange, "")
            return
        if exchange.observer is not None:
            exchange.observer.began(exchange, self.number)
        call = self._calls.begin(self._instance, exchange, lambda: self._answered(exchange))
        self._exchanges[exchange] = call
        self._stuck = False
        exchange.on_cancel = lambda: self._cancel(exchange, call)

    def _runs_overdue(self) -> bool:
        """Whether what runs at the moment is for a request whose deadline has passed; asked at ticks."""
        task = self._store.task
        return any(call.task is task and exchange.overdue for exchange, call in self._exchanges.items())

    def _relieve(self, count: int) -> None:
        """So many requests are off its hands."""
        self._load -= count
        if not self._load:
            self._begin_idleness()

    def _note_stuck(self, stuck: bool) -> None:
        if stuck and not self._stuck:
            self._begin_idleness()
        self._stuck = stuck

    def _begin_idleness(self) -> None:
        self._idle_since = trio.current_time()
        if self._became_idle is not None:
            self._became_idle.set()
            self._became_idle = None

    async def _retire_when_idle(self) -> None:
        while not self._retiring:
            timeout = self.handler.options.idle_instance_timeout
            if self._stuck and not all(exchange.done for exchange in self._exchanges):
                timeout = max(timeout, ANSWER_BY_ANOTHER)
            if self._load and not self._stuck:
                self._became_idle = trio.Event()
                await self._became_idle.wait()
            elif trio.current_time() < self._idle_since + timeout:
                await trio.sleep_until(self._idle_since + timeout)
            else:
                self.ending = self.ending or Retirement.IDLE
                self.retire()

    # ---- what becomes of them ----------------------------------------------------------------------------

    def _answered(self, exchange: Exchange) -> None:
        """The guest's call has returned, or failed."""
        call = self._exchanges.get(exchange)
        if call is None:
            return
        if call.failure is not None or call.outcome is CANCELLED:
            if call.outcome is CANCELLED:
                self._finish_one(exchange, "the guest ended the request early")
            return  # failures end the instance, and all its requests with it
        if exchange.done or exchange.finished:  # too late: the client has been answered, or has left
            refuse_response(call.outcome, HttpError("connection-terminated"))
            self._finish_one(exchange, "")
            return
        try:
            response = outgoing_response(call.outcome, exchange.request)
        except HttpError as error:
            exchange.fail(GuestFailed(f"the guest answered with the error {error}"), error)
            self._finish_one(exchange, "")
            return
        body = response.body
        exchange.respond(response)
        pause = self.handler.options.body_timeout
        if pause is not None:
            exchange.bound_pauses(pause)
        if body.ended:
            self._finish_one(exchange, "")
            return
        settle = body.on_ended

        def ended(whole: bool) -> None:
            if settle is not None:
                settle(whole)
            self._finish_one(exchange, "the guest broke off its response")
            if not whole:
                # Whoever reads it has closed it, and may say yet that this was because the client has left.
                exchange.on_cancel = lambda: self._end_soon(exchange, call)

        body.on_ended = ended

    def _cancel(self, exchange: Exchange, call: Call) -> None:
        """Nobody waits for it any more: tell a guest that can be told; one that does not end it in time is given up."""
        response = exchange.response
        if response is not None and response.body.error is None:
            response.body.close()  # with which the exchange is over, though the guest may not be done
        assert self._pump is not None
        if self._calls.takes_cancellation:
            call.cancel()
        self._pump.nursery.start_soon(self._grace, exchange, call)

    def _end_soon(self, exchange: Exchange, call: Call) -> None:
        """The client has left in the middle of its response: what the guest does now is no work after a response."""
        assert self._pump is not None
        if self._pump.works_on(call):
            self._pump.nursery.start_soon(self._grace, exchange, call)

    async def _grace(self, exchange: Exchange, call: Call) -> None:
        await trio.sleep(self.handler.options.cancel_grace)
        assert self._pump is not None
        if exchange in self._exchanges or self._pump.works_on(call):
            self._give_up(Retirement.DEADLINE if exchange.late else Retirement.CANCELLED)
            self._finish_one(exchange, "the guest did not end it in time")

    def _bound_rests(self) -> None:
        """Give the guest a bounded time for what it goes on with although the requests are over."""
        pump = self._pump
        assert pump is not None
        over, self._over = self._over, []
        limit = self.handler.options.post_response_timeout
        if limit is None:
            return
        going_on = [call for call in over if pump.works_on(call)]
        if going_on:
            if not self._lingering:
                pump.nursery.start_soon(self._end_lingering)
            until = trio.current_time() + limit
            self._lingering.extend((until, call) for call in going_on)

    async def _end_lingering(self) -> None:
        pump = self._pump
        assert pump is not None
        while self._lingering:
            until, call = self._lingering[0]
            if pump.works_on(call):
                await trio.sleep_until(until)
                if pump.works_on(call) and not self._given_up:
                    log.warning("instance %d: the guest went on after its response for too long", self.number)
                    self._give_up(Retirement.DEADLINE)
            self._lingering.popleft()

    def _give_up(self, reason: Retirement) -> None:
        """Take no more requests, and wait for nothing but those under way."""
        self._given_up = True
        self.ending = self.ending or reason
        self.retire()
        if not self._exchanges:
            assert self._pump is not None
            self._pump.stop()

    def _finish_one(self, exchange: Exchange, reason: str) -> None:
        """The guest is done with a request."""
        call = self._exchanges.pop(exchange, None)
        if call is None:
            return
        pump = self._pump
        assert pump is not None
        self._over.append(call)
        if pump.asleep:
            self._bound_rests()
        self._relieve(1)
        # Before the handler learns that it may dispatch another. In the middle of a step it remains to be seen whether
        # the guest is busy; if so the inbox goes back.
        self._set_roomy(self._has_room() and not self._computes and not (pump.asleep and self._store.busy))
        self._finish(exchange, reason)
        if self._given_up and not self._exchanges:
            pump.stop()
        elif self._is_used_up():
            pump.alert()

    def _fail_all(self, failure: BaseException | None) -> None:
        """The pump has ended: nothing that is not complete by now will be."""
        self._retiring = True
        if isinstance(failure, trio.Cancelled):
            self._note_cancellation(failure)
        reason = self.cancelled_for
        if isinstance(failure, Exit):
            self.ending = Retirement.EXIT
            reason = f"the guest exited with code {failure.code}"
        elif isinstance(failure, Trap):
            overdue = any(exchange.overdue for exchange in self._exchanges)
            self.ending = Retirement.DEADLINE if overdue else Retirement.TRAP
            reason = f"the guest trapped: {first_line(str(failure))}"
            log.error("instance %d trapped: %s", self.number, failure)
        elif isinstance(failure, Exception):
            self.ending = Retirement.HOST_ERROR
            reason = f"a host function failed: {type(failure).__name__}"
            log.error("instance %d: a host function failed", self.number, exc_info=failure)
        for exchange in list(self._exchanges):
            exchange.cause = failure
            self._finish_one(exchange, reason)
