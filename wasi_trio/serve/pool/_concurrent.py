"""The strategy for instances of WASI 0.3, which serve several requests concurrently."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

import trio

from wasi_trio._texts import get_logger
from wasi_trio.component._errors import Trap
from wasi_trio.component.concurrency._tasks import CANCELLED, Interlude
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._pump import Call, Pump
from wasi_trio.runtime._store import Store
from wasi_trio.serve.pool._exchange import Exchange, named
from wasi_trio.serve.pool._failures import GuestFailed
from wasi_trio.serve.pool._guest import ServiceHandler
from wasi_trio.serve.pool._metering import UsedUp, charge, retirement
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.serve.pool._worker import TOO_LONG, Worker, first_line
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi.http._body import BodyEnd
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.p3._http import outgoing_response, refuse_response

log = get_logger("wasi_trio.serve")

#: The reason for a request whose guest returned without finishing the response, or waits for itself.
STUCK = "the guest left it unfinished, and nothing can finish it"
#: The time for which a guest may wait for another request before it answers one, in seconds. A guest may wait on
#: purpose.
ANSWER_BY_ANOTHER = 600.0


def _awaits_guest(exchange: Exchange) -> bool:
    """Return whether the guest must still answer it, or finish its response."""
    if not exchange.answered:
        return True
    response = exchange.response
    return response is not None and response.body.awaits_guest is not None and response.body.awaits_guest()


class Concurrent:
    """The strategy of an instance that serves several requests concurrently.

    It begins a request only if the guest signals no backpressure and none of its tasks is computing: one computing task
    keeps an instance busy. Offered requests wait in the worker's inbox for the instance's turn. If the instance is busy
    then, they go back to the pool.

    Active requests, and the guest's work after its last response, finish before the instance ends, unless it failed.
    """

    _calls: ServiceHandler
    _instance: Instance
    _store: Store
    _pump: Pump

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._exchanges: dict[Exchange, Call] = {}
        #: Whether ``serve`` has begun.
        self._serves = False
        #: Whether the guest has worked too long on a finished request. The instance then waits for active requests
        #: only.
        self._given_up = False
        #: The calls of finished requests since the last idle moment. The guest may still work on them.
        self._over: list[tuple[Call, Exchange]] = []
        #: The calls that the guest still works on: the end of their time, the call, and the request for the log.
        self._lingering: deque[tuple[float, Call, dict[str, str]]] = deque()
        #: Whether a task is computing or blocks the event loop.
        self._computes = False

    def in_flight(self) -> Sequence[Exchange]:
        return list(self._exchanges)

    @property
    def cpu_bound(self) -> bool:
        return self._computes

    @property
    def asks_for_backpressure(self) -> bool:
        return self._serves and self._store.busy

    @property
    def lingers(self) -> bool:
        return self._serves and not self._exchanges and not (self._pump.idle or self._pump.stalled)

    async def serve(self, instance: Instance, first: Exchange) -> None:
        worker, pump = self._worker, instance.pump
        calls = worker.pool.calls
        assert pump is not None and isinstance(calls, ServiceHandler)
        store = instance.stores[calls.export.part]
        assert store is not None
        self._calls, self._instance, self._store, self._pump = calls, instance, store, pump
        self._serves = True
        pump.on_idle = self._on_idle
        pump.on_busy = self._on_busy
        instance.expired = self._runs_overdue
        if worker.pool.options.max_cpu_time is not None:
            instance.meter = partial(self._charge, worker.pool.options.max_cpu_time)
        self._begin(first)
        if not self._closed():
            pump.nursery.start_soon(worker.retire_when_idle)
        try:
            await pump.run()
        finally:
            self._fail_all(pump.failure)
            pump.on_idle = pump.on_busy = instance.expired = instance.meter = None

    # ---- taking on requests ------------------------------------------------------------------------------

    def alert(self) -> None:
        if self._serves:
            self._pump.alert()

    def _closed(self) -> bool:
        return self._worker.pool.admission.closed(self._worker.slot)

    def _set_ready(self, ready: bool) -> None:
        if self._worker.slot.ready is not ready:
            self._worker.pool.set_ready(self._worker.slot, ready)

    def _on_idle(self) -> bool:
        """Handle an idle moment of all guest threads: begin a request, or stop. Return whether more can be done."""
        worker, pump = self._worker, self._pump
        self._computes = False
        if self._over:
            self._limit_remaining_work()
        if worker.inbox:
            if not self._store.busy and not self._given_up:
                self._begin(worker.inbox.popleft())
                return True
            worker.give_back()
        if self._exchanges:
            if pump.stalled:
                self._end_unfinished()
            elif worker.stuck:
                worker.note_stuck(None)
        if not self._exchanges and (pump.idle or pump.stalled or self._given_up):
            if self._closed():
                if worker.pool.admission.spent(worker.slot):
                    worker.retire(Retirement.REUSE_COUNT)
                pump.stop()
            worker.pool.note_rest()
        self._set_ready(not self._store.busy)
        return bool(worker.inbox)  # set_ready() may have placed a waiting request here

    def _end_unfinished(self) -> None:
        """End unfinished requests that only a further request could finish, if none will arrive."""
        pool = self._worker.pool
        unfinished = [exchange for exchange in self._exchanges if _awaits_guest(exchange)]
        timeout: float | None = None
        if len(unfinished) == len(self._exchanges):
            timeout = pool.options.idle_instance_timeout
            if not all(exchange.answered for exchange in unfinished):
                timeout = max(timeout, ANSWER_BY_ANOTHER)
        self._worker.note_stuck(timeout)
        if self._closed() or pool.draining:
            for exchange in unfinished:
                self._finish(exchange, STUCK)

    def _on_busy(self) -> None:
        self._computes = True
        if self._over:
            self._limit_remaining_work()
        self._set_ready(False)
        self._worker.give_back()

    def _begin(self, exchange: Exchange) -> None:
        if self._worker.begin(exchange):
            exchange.owner = self
            call = self._calls.begin(self._instance, exchange, partial(self._answered, exchange))
            self._exchanges[exchange] = exchange.work = call
            if self._worker.stuck:
                self._worker.note_stuck(None)

    def _charge(self, limit: float, task: object, seconds: float) -> None:
        """Charge a task's processor time to its request, or to all requests in equal parts if it has none.

        A task without a request belongs to another component of the composition, or continues after a response.
        """
        exchanges = [exchange for exchange, call in self._exchanges.items() if call.task is task]
        exchanges = exchanges or list(self._exchanges)
        for exchange in exchanges:
            charge(exchange, seconds / len(exchanges), limit)

    def _runs_overdue(self) -> bool:
        """Return whether the current task works on a request past its deadline. The ticker asks."""
        task: object = self._store.task
        if isinstance(task, Interlude):  # the deadline of the request also bounds a realloc or a destructor
            task = task.within
        return any(call.task is task and exchange.overdue for exchange, call in self._exchanges.items())

    # ---- the ends of requests ----------------------------------------------------------------------------

    def _answered(self, exchange: Exchange) -> None:
        """Handle the return or the failure of the guest's call."""
        call = self._exchanges.get(exchange)
        if call is None:
            return
        if call.failure is not None or call.outcome is CANCELLED:
            if call.outcome is CANCELLED:
                self._finish(exchange, "the guest ended the request early")
            return  # a failure ends the instance, and all its requests with it
        if exchange.answered or exchange.abandoned:  # too late
            refuse_response(call.outcome, HttpError("connection-terminated"))
            self._finish(exchange, "")
            return
        try:
            response = outgoing_response(call.outcome, exchange.request)
        except HttpError as error:
            exchange.fail(GuestFailed(f"the guest answered with the error {error}"), error)
            self._finish(exchange, "")
            return
        exchange.respond(response)

    def responded(self, exchange: Exchange) -> None:
        assert exchange.response is not None
        pause = self._worker.pool.options.body_timeout
        if pause is not None:
            exchange.bound_pauses(pause)
        exchange.response.body.subscribe_end(partial(self._body_ended, exchange))

    def _body_ended(self, exchange: Exchange, end: BodyEnd) -> None:
        # If the reader has not had everything, the client may still leave.
        self._finish(exchange, "the guest broke off its response", closed=end is not BodyEnd.WHOLE)

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Tell the guest to end an abandoned request, if possible. Retire the instance if that takes too long.

        If the client has closed the response, the request is over, and the guest's work counts as work after a
        response.
        """
        call: Call = exchange.work
        reason = Retirement.DEADLINE if late else Retirement.CANCELLED
        if exchange in self._exchanges:
            response = exchange.response
            if response is not None and not late:
                response.body.close()  # ends the exchange, though the guest may continue
            call.cancel()
        else:
            exchange.owner = exchange.work = None
            if not self._pump.works_on(call):
                return
        self._pump.nursery.start_soon(self._grace, exchange, call, reason)

    async def _grace(self, exchange: Exchange, call: Call, reason: Retirement) -> None:
        await trio.sleep(self._worker.pool.options.cancel_grace)
        if exchange in self._exchanges or self._pump.works_on(call):
            self._give_up(reason)
            self._finish(exchange, "the guest did not end it in time")

    def _limit_remaining_work(self) -> None:
        """Limit the time of the guest's work on finished requests."""
        pump = self._pump
        over, self._over = self._over, []
        limit = self._worker.pool.options.post_response_timeout
        if limit is None:
            return
        going_on = [(call, exchange.about(self._worker.name)) for call, exchange in over if pump.works_on(call)]
        if going_on:
            if not self._lingering:
                pump.nursery.start_soon(self._end_lingering)
            until = trio.current_time() + limit
            self._lingering.extend((until, call, about) for call, about in going_on)

    async def _end_lingering(self) -> None:
        pump = self._pump
        while self._lingering:
            until, call, about = self._lingering[0]
            if pump.works_on(call):
                await trio.sleep_until(until)
                if pump.works_on(call) and not self._given_up:
                    log.warning(
                        "instance %s: %s: %s", self._worker.name, about["request"], TOO_LONG, extra={"about": about}
                    )
                    self._give_up(Retirement.DEADLINE)
            self._lingering.popleft()

    def _give_up(self, reason: Retirement) -> None:
        """Take no more requests, and wait for the active ones only."""
        self._given_up = True
        self._worker.retire(reason)
        if not self._exchanges:
            self._pump.stop()

    def _finish(self, exchange: Exchange, reason: str, closed: bool = False) -> None:
        """Finish a request that the guest is done with."""
        call = self._exchanges.pop(exchange, None)
        if call is None:
            return
        pump = self._pump
        call.on_done = _nothing  # breaks the reference cycle of call and exchange
        self._over.append((call, exchange))
        if pump.asleep:
            self._limit_remaining_work()
        # In the middle of a step the guest may turn out to be busy. Then the inbox goes back.
        ready = not self._computes and not (pump.asleep and self._store.busy)
        self._worker.done(exchange, reason, ready=ready, closed=closed)
        if self._given_up and not self._exchanges:
            pump.stop()
        elif self._closed():
            pump.alert()

    def _fail_all(self, failure: BaseException | None) -> None:
        """Fail all unfinished requests after the pump's end."""
        worker = self._worker
        if isinstance(failure, trio.Cancelled):
            worker.note_cancellation(failure)
        reason = worker.cancelled_for
        if isinstance(failure, Exit):
            worker.retire(Retirement.EXIT)
            reason = f"the guest exited with code {failure.code}"
        elif isinstance(failure, Trap):
            overdue = any(exchange.overdue for exchange in self._exchanges)
            worker.retire(retirement(failure, overdue))
            reason = f"the guest trapped: {first_line(str(failure))}"
            if not isinstance(failure, UsedUp):
                worker.log_trap(list(self._exchanges), failure)
        elif isinstance(failure, Exception):
            worker.retire(Retirement.HOST_ERROR)
            reason = f"a host function failed: {type(failure).__name__}"
            requests = named(self._exchanges)
            extra = {"about": {"instance": worker.name, "request": requests}}
            log.error("instance %s: %s: a host function failed", worker.name, requests, exc_info=failure, extra=extra)
        else:
            worker.retire(Retirement.SHUTDOWN)
        for exchange in list(self._exchanges):
            exchange.cause = failure
            self._finish(exchange, reason)


def _nothing() -> None:
    pass
