"""The strategy for instances of WASI 0.2, which serve one request after another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from wasi_trio._texts import get_logger
from wasi_trio.component._errors import Trap
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import GuestFailed
from wasi_trio.serve.pool._guest import IncomingHandler
from wasi_trio.serve.pool._metering import UsedUp, charge, retirement
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.serve.pool._worker import TOO_LONG, Worker, first_line
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi.http._body import BodyEnd

log = get_logger("wasi_trio.serve")


class OneAtATime:
    """The strategy of an instance that serves one request at a time."""

    cpu_bound = False
    asks_for_backpressure = False
    lingers = False  # a request is active until the guest's call returns

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._serving: tuple[Exchange, ...] = ()
        #: The cancel scope of the guest's calls, and whether it was cancelled or has a deadline.
        self._scope = trio.CancelScope()
        self._used_scope = False
        #: The nursery in which the idle timer is yet to be started.
        self._nursery: trio.Nursery | None = None
        #: The task of ``serve`` while it waits for a request.
        self._sleeper: trio.lowlevel.Task | None = None

    def in_flight(self) -> Sequence[Exchange]:
        return self._serving

    async def serve(self, instance: Instance, first: Exchange) -> None:
        worker = self._worker
        self._nursery = instance.context.own_nursery
        instance.expired = self._runs_overdue
        if worker.pool.options.max_cpu_time is not None:
            instance.meter = partial(self._charge, worker.pool.options.max_cpu_time)
        exchange: Exchange | None = first
        while exchange is not None:
            # Requests share a cancel scope until one of them uses it, because entering one costs 8 µs.
            scope = self._scope = trio.CancelScope()
            self._used_scope = False
            try:
                with scope:
                    while exchange is not None:
                        if worker.begin(exchange):
                            await self._serve_one(instance, exchange)
                            if not self._can_share_scope():
                                break
                        exchange = await self._next(instance)
            finally:
                for cut in self._serving:
                    self._end_cut(instance, cut, scope.cancelled_caught)
            if not self._can_share_scope():
                exchange = await self._next(instance)

    def _can_share_scope(self) -> bool:
        """Return whether the cancel scope is unused. It is a method, because mypy keeps an attribute's last value."""
        return not self._used_scope

    async def _next(self, instance: Instance) -> Exchange | None:
        """Wait for the next request. Return None if the instance serves no more."""
        worker = self._worker
        admission, slot = worker.pool.admission, worker.slot
        if not slot.ready and instance.dead:
            return None
        while not worker.inbox:
            if admission.spent(slot):
                worker.retire(Retirement.REUSE_COUNT)
            if slot.retired is not None:
                return None
            if not slot.ready:  # usually ``Worker.done`` has set it
                worker.pool.set_ready(slot, True)
            if worker.inbox:  # set_ready() has placed a waiting request here
                break
            if self._nursery is not None:
                self._nursery.start_soon(worker.retire_when_idle)
                self._nursery = None
            self._sleeper = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_sleeping)
        return worker.inbox.popleft()

    def alert(self) -> None:
        sleeper = self._sleeper
        if sleeper is not None:
            self._sleeper = None
            trio.lowlevel.reschedule(sleeper)

    def _stop_sleeping(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _serve_one(self, instance: Instance, exchange: Exchange) -> None:
        """Serve one request. If the call is cancelled, ``_end_cut`` finishes the request."""
        worker = self._worker
        calls = worker.pool.calls
        assert isinstance(calls, IncomingHandler)
        exchange.owner = self
        if exchange.trace is not None:
            ORIGIN.set(exchange.trace)
        self._serving = (exchange,)
        try:
            await calls.call(instance, exchange)
            reason = "the guest returned without setting a response"
            if exchange.answered:
                reason = "the guest returned before the end of the response's body"
        except Exit as exit_:
            worker.retire(Retirement.EXIT)
            instance.retire(f"it exited with code {exit_.code}")
            reason = f"the guest exited with code {exit_.code}"
            if exchange.failure is not None:
                # An exiting guest may drop the receiver of its response. That is not the reason to report.
                exchange.failure = GuestFailed(reason)
        except Trap as trap:
            exchange.cause = trap
            worker.retire(retirement(trap, exchange.overdue))
            reason = f"the guest trapped: {first_line(str(trap))}"
            if not isinstance(trap, UsedUp):
                worker.log_trap([exchange], trap)
        except trio.Cancelled as cancelled:
            worker.note_cancellation(cancelled)
            raise
        except Exception as error:
            exchange.cause = error
            worker.retire(Retirement.HOST_ERROR)
            reason = f"a host function failed: {type(error).__name__}"
            log.exception(
                "instance %s: %s: a host function failed",
                worker.name,
                exchange,
                extra={"about": exchange.about(worker.name)},
            )
        self._serving = ()
        instance.on_suspended = None
        worker.done(exchange, reason, ready=not instance.dead)

    def _end_cut(self, instance: Instance, exchange: Exchange, timed_out: bool) -> None:
        """Finish a request whose call was cancelled. ``timed_out`` means that the scope of the calls was."""
        worker = self._worker
        if timed_out:
            worker.retire(Retirement.CANCELLED if exchange.abandoned else Retirement.DEADLINE)
            response = exchange.response
            if response is not None and response.body.end is BodyEnd.WHOLE and not exchange.abandoned:
                log.warning(
                    "instance %s: %s: %s",
                    worker.name,
                    exchange,
                    TOO_LONG,
                    extra={"about": exchange.about(worker.name)},
                )
        self._serving = ()
        instance.on_suspended = None
        worker.done(exchange, worker.cancelled_for, timed_out=timed_out)

    # ---- events during a request -------------------------------------------------------------------------

    def responded(self, exchange: Exchange) -> None:
        """Limit the pauses in the response's body, and the guest's work after it."""
        options = self._worker.pool.options
        if options.body_timeout is not None:
            exchange.bound_pauses(options.body_timeout)
        if options.post_response_timeout is not None:
            assert exchange.response is not None
            exchange.response.body.subscribe_end(partial(self._limit_work_after, exchange))

    def _limit_work_after(self, exchange: Exchange, end: BodyEnd) -> None:
        instance = self._worker.instance
        if instance is None or exchange not in self._serving:
            return
        current = instance.linked.engine.current
        if current is not None and current.root is instance:
            # Most guests end their response in a host call, and return soon.
            instance.on_suspended = self._limit_remaining_work
        else:
            self._limit_remaining_work()

    def _limit_remaining_work(self) -> None:
        limit = self._worker.pool.options.post_response_timeout
        assert limit is not None
        self._used_scope = True
        self._scope.deadline = trio.current_time() + limit

    def stop(self, exchange: Exchange, late: bool) -> None:
        self._used_scope = True
        self._scope.cancel()

    def _charge(self, limit: float, task: object, seconds: float) -> None:
        """Charge the guest's processor time to the request."""
        for exchange in self._serving:
            charge(exchange, seconds, limit)

    def _runs_overdue(self) -> bool:
        """Return whether the guest works on a request past its deadline. The ticker asks."""
        return any(exchange.overdue for exchange in self._serving)
