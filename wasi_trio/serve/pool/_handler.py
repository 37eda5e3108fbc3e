"""The request handler: a pool of workers, each with an instance of the component."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from wasi_trio._texts import get_logger
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._containment import split
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.serve.pool._admission import Admission, Bounds, Slot, Verdict
from wasi_trio.serve.pool._concurrent import Concurrent
from wasi_trio.serve.pool._deadlines import Deadlines
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._failures import Overloaded, ShuttingDown
from wasi_trio.serve.pool._guest import GuestCalls, guest_calls
from wasi_trio.serve.pool._observer import Observer
from wasi_trio.serve.pool._one_at_a_time import OneAtATime
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.serve.pool._shortage import Shortage
from wasi_trio.serve.pool._states import Event, State
from wasi_trio.serve.pool._watchdog import Watchdog
from wasi_trio.serve.pool._worker import Worker
from wasi_trio.wasi._stdio import StdoutSink
from wasi_trio.wasi.http._connections import Connections
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import HandlerMetrics
    from wasi_trio.serve.pool._tracing import RequestStream

log = get_logger("wasi_trio.serve")


class ProxyHandler:
    """Answers requests with instances of a component.

    Use it as an async context manager. On exit it takes no more requests, lets active ones finish and ends the workers.
    ``drain_timeout`` limits this time. Cancelling the surrounding block ends them at once. If ``component`` does not
    export an HTTP handler, the constructor raises LinkError.

    ``admission`` decides which instance a request goes to, and when a new one starts.
    """

    def __init__(self, component: LinkedComponent, options: HandlerOptions | None = None) -> None:
        self.component = component
        self.options = options or HandlerOptions()
        self.calls: GuestCalls = guest_calls(component)
        reuse = self.options.max_instance_reuse_count
        self.reuse_count = self.calls.default_reuse_count if reuse is None else reuse
        at_once = self.options.max_instance_concurrent_reuse_count
        if at_once is None or not component.concurrent:  # WASI 0.2 allows only one
            at_once = self.calls.default_concurrent_count
        self.concurrent_count = at_once
        budget = self._budget = component.engine.budget
        limit, queue = self.options.max_concurrent_requests, self.options.max_queued_requests
        self.admission: Admission[Exchange] = Admission(
            Bounds(
                requests=math.inf if limit is None else limit,
                queued=math.inf if queue is None else queue,
                reuse=self.reuse_count,
                at_once=self.concurrent_count,
            ),
            # A bound method would form a cycle, and objects made before the freeze are never collected.
            lambda: budget.admits(component.instance_size),
            self.options.shared_limit,
        )
        if self.options.total_memory is not None:
            self._budget.limit = self.options.total_memory
        self._shortage: Shortage | None = None
        #: Whether the handler is about to end. A request must not wait for another one to arrive.
        self.draining = False
        self._leaving = False
        self._deadlines: Deadlines | None = None
        #: The cancel scope of the task that fails active requests when the handler is cancelled.
        self._cancel_watch = trio.CancelScope()
        self.watchdog = Watchdog(component, self.options.stall_limit, self.options.interrupt_stalls)
        #: The metrics of this handler, if enabled.
        self.metrics: HandlerMetrics | None = None
        #: The kept connections of its guests' requests. Guests of other handlers never use them.
        self.connections: Connections | None = None
        self._observer: Observer | None = None
        self._profiler = component.engine.profiler
        self._worker = Worker
        if self._profiler is not None:
            from wasi_trio.serve.pool._profiled import ProfiledWorker  # imported late, because few servers profile

            self._worker = ProfiledWorker
        self._workers: dict[Slot, Worker] = {}
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> ProxyHandler:
        self._nursery = await self._nursery_manager.__aenter__()
        self.connections = Connections(self._nursery, self.options.wasi.http.keep_alive)
        self._observer = self._new_observer()
        if self.options.request_timeout is not None:
            self._deadlines = Deadlines(self._nursery, self.options.request_timeout)
        self._shortage = Shortage(self._nursery, self.options.memory_timeout, self._refuse_for_memory)
        self._nursery.start_soon(self._answer_when_cancelled)
        self.watchdog.start()
        return self

    def _new_observer(self) -> Observer | None:
        metrics = None
        listeners = [listen(self.component.name) for listen in self.options.listeners]
        if self.options.metrics is not None:
            options = self.options
            metrics = self.metrics = self.options.metrics.of(self.component.name, options.route, options.generation)
            metrics.sources.append(self)
            self.options.metrics.budget = self._budget
        elif (
            not listeners
            and not self.options.observed
            and self.options.tracer is None
            and not log.isEnabledFor(logging.INFO)
        ):
            return None
        return Observer(self.component.name, metrics, listeners, self.options.instance_prefix, self.options.tracer)

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers with an instance, or about to create one. Safe to use on any thread."""
        return list(self._workers.values())

    @property
    def active(self) -> int:
        """The number of placed requests. Safe to use on any thread, like the following properties."""
        return self.admission.active

    @property
    def lingers(self) -> bool:
        """Whether a guest continues to work after its responses."""
        return any(worker.lingers for worker in self.workers)

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return len(self.admission.queued)

    @property
    def stalls(self) -> int:
        """The number of host calls logged for blocking the event loop."""
        return self.watchdog.stalls

    @property
    def interruptions(self) -> int:
        """The number of host calls interrupted for blocking the event loop."""
        return self.watchdog.interruptions

    @property
    def started(self) -> int:
        """The number of instances started so far, which is the number of the latest one."""
        return self.admission.started

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.begin_to_drain()
        # Idle workers end at once, and busy ones after their requests.
        self._leaving = True
        self.admission.drain()
        for worker in self._workers.values():
            worker.retire(Retirement.SHUTDOWN)
        self._leave()
        try:
            return await self._nursery_manager.__aexit__(kind, error, traceback)
        finally:
            self.watchdog.stop()
            self._shortage = None
            self._budget.on_freed.pop(self, None)
            if self.options.shared_limit is not None:
                self.options.shared_limit.waiting.pop(self, None)
            if self.metrics is not None:
                self.metrics.ended(self)
            if self._profiler is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._profiler.flush)

    def begin_to_drain(self) -> None:
        """Prepare for the end: accept requests, but cut all that are not finished within ``drain_timeout``.

        Requests that only a further request could finish end at once. Leaving the handler calls this as well.
        """
        assert self._nursery is not None
        self.draining = True
        for worker in self._workers.values():
            worker.alert()
        scope, limit = self._nursery.cancel_scope, self.options.drain_timeout
        if limit is not None and scope.deadline == math.inf:
            scope.deadline = trio.current_time() + limit

    async def handle(self, request: Request) -> Response:
        """Return the guest's response once its head is set. Its body may still be incomplete.

        Raise ExchangeFailed. Cancellation stops the guest's work on the request and drops its instance.
        """
        return await self.submit(request).wait()

    @uninterrupted
    def submit(self, request: Request, stream: RequestStream | None = None) -> Exchange:
        """Submit a request without waiting for its response. ``stream`` transported it, if given."""
        exchange = Exchange(request)
        if self._observer is not None:
            self._observer.submitted(exchange, stream)
        timeout = self.options.request_timeout
        if timeout is not None:
            exchange.deadline = trio.current_time() + timeout
        verdict, slot = self.admission.submit(exchange)
        if slot is not None:
            if self._deadlines is not None:
                self._deadlines.watch(exchange)
            self._place(exchange, verdict, slot)
        elif verdict is Verdict.QUEUE:
            self._queue(exchange)
            if self._deadlines is not None:
                self._deadlines.watch(exchange)
        else:
            self._refuse(exchange)
        return exchange

    def _queue(self, exchange: Exchange) -> None:
        exchange.owner = self
        # Registered only now: a server may have many handlers, and each end of an instance calls all registered ones.
        self._budget.on_freed[self] = self._place_queued
        if self.options.shared_limit is not None:
            self.options.shared_limit.waiting.setdefault(self, self._place_one)
        if self.admission.short:
            assert self._shortage is not None
            self._shortage.watch((exchange,))

    def _refuse(self, exchange: Exchange) -> None:
        self._overloaded(exchange, f"{self.waiting} requests are already waiting")

    def _refuse_for_memory(self, exchange: Exchange) -> None:
        self.admission.withdraw(exchange)
        exchange.owner = None
        exchange.request.body.close()
        self._overloaded(exchange, f"no memory for another instance besides the {self._budget.accounts} present")
        self._leave()

    def _overloaded(self, exchange: Exchange, reason: str) -> None:
        failure = Overloaded(reason)
        log.warning("%s: %s", exchange, failure, extra={"about": exchange.about()})
        exchange.fail(failure, HttpError("internal-error", reason))

    def responded(self, exchange: Exchange) -> None:
        """Do nothing: a queued request has no response."""

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Remove an abandoned request from the queue."""
        self.admission.withdraw(exchange)
        exchange.owner = None
        exchange.request.body.close()

    def _place(self, exchange: Exchange, verdict: Verdict, slot: Slot) -> None:
        exchange.advance(Event.PLACE)
        exchange.owner = None
        if verdict is Verdict.ACCEPT:
            self._workers[slot].offer(exchange)
            return
        assert self._nursery is not None, "the handler must be entered before it receives requests"
        expected = self.component.instance_size
        self._budget.reserve(expected)
        strategy = Concurrent if self.component.concurrent else OneAtATime
        worker = self._workers[slot] = self._worker(self, slot, strategy)
        if self._observer is not None:
            self._observer.instance_started(worker.number)
        self._nursery.start_soon(self._run_worker, worker, exchange, expected)

    def dispatch_again(self, exchanges: Sequence[Exchange]) -> None:
        """Place or queue requests that a worker gave back without beginning them."""
        for exchange in exchanges:
            if exchange.state is State.PLACED and not self.admission.can_place():
                exchange.advance(Event.QUEUE)
                self.admission.enqueue(exchange)
                self._queue(exchange)
            else:
                self._place(exchange, *self.admission.place())

    def set_ready(self, slot: Slot, ready: bool) -> None:
        """Note whether a worker's instance could begin a request now."""
        self.admission.set_ready(slot, ready)
        if ready:
            self._place_queued()

    def _place_queued(self) -> None:
        """Place waiting requests as far as possible."""
        if self.options.shared_limit is not None:
            self.options.shared_limit.fill()
        while self._place_one():
            pass
        admission = self.admission
        if not admission.queued:
            self._budget.on_freed.pop(self, None)
        elif admission.short and self._shortage is not None:
            # They may have waited for places before, and for memory from this moment.
            self._shortage.watch(admission.queued)

    def _place_one(self) -> bool:
        """Place the oldest waiting request, if possible. Return whether it was placed."""
        admission, shared = self.admission, self.options.shared_limit
        exchange = admission.next_queued()
        if exchange is not None:
            self._place(exchange, *admission.place())
        if shared is not None and not admission.queued:
            shared.waiting.pop(self, None)
        return exchange is not None

    @uninterrupted
    async def _run_worker(self, worker: Worker, exchange: Exchange, expected: int) -> None:
        self._budget.unreserve(expected)
        try:
            await worker.run(exchange)
        except BaseException as error:  # a failure of this instance must not reach other instances
            failure, passing = split(error)
            if failure is not None:
                worker.retire(Retirement.HOST_ERROR)
                about = {"instance": worker.name}
                log.error("instance %s failed in the host", worker.name, exc_info=failure, extra={"about": about})
            if passing is not None:
                raise passing from None
        finally:
            slot = worker.slot
            del self._workers[slot]
            if self._observer is not None:
                taken = slot.taken if worker.made else None
                self._observer.instance_ended(worker.number, taken, slot.retired or Retirement.SHUTDOWN)

    def release(self) -> None:
        """Free the place of a finished request, and place the next one."""
        admission = self.admission
        admission.release()
        self._place_queued()
        self.note_rest()
        self._leave()

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        """Return the sinks for an instance, in the place of these."""
        return (stdout, stderr) if self._observer is None else self._observer.sinks(instance, stdout, stderr)

    def note_rest(self) -> None:
        """Notify the observer if no request is active."""
        if not self.admission.active and self._observer is not None:
            self._observer.idle()

    async def _answer_when_cancelled(self) -> None:
        """Fail active requests at once when the handler is cancelled. Their host functions may take time to end."""
        with self._cancel_watch:
            try:
                await trio.sleep_forever()
            finally:
                if not self._cancel_watch.cancel_called:
                    for worker in self._workers.values():
                        for exchange in (*worker.in_flight(), *worker.inbox):
                            failure = ShuttingDown(worker.cancelled_for)
                            exchange.fail(failure, HttpError("internal-error", str(failure)))

    def _leave(self) -> None:
        """Stop the watching tasks after the last request."""
        if self._leaving and not self.active and not self.waiting:
            self._cancel_watch.cancel()
            if self._deadlines is not None:
                self._deadlines.stop()
            if self._shortage is not None:
                self._shortage.stop()
            if self.connections is not None:
                self.connections.close()
