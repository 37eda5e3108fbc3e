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
from wasi_trio.serve.pool._exchange import Event, Exchange, Overloaded, ShuttingDown, State
from wasi_trio.serve.pool._guest import GuestCalls, guest_calls
from wasi_trio.serve.pool._observer import Observer
from wasi_trio.serve.pool._one_at_a_time import OneAtATime
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.serve.pool._profiled import ProfiledWorker
from wasi_trio.serve.pool._shortage import Shortage
from wasi_trio.serve.pool._watchdog import Watchdog
from wasi_trio.serve.pool._worker import Worker
from wasi_trio.wasi._stdio import StdoutSink
from wasi_trio.wasi.http._connections import Connections
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response

if TYPE_CHECKING:
    from wasi_trio.serve.pool._metrics import HandlerMetrics
    from wasi_trio.serve.pool._tracing import Carrier

log = get_logger("wasi_trio.serve")


class ProxyHandler:
    """Gives requests to instances of a component and gets their responses.

    To be used as an async context manager: leaving it stops taking requests, lets those under way finish and ends
    the workers; ``drain_timeout`` bounds that, and cancelling the block around it ends them at once. ``component``
    must export an HTTP handler, else LinkError.

    Which instance a request goes to, and when one is made, is what ``admission`` decides.
    """

    def __init__(self, component: LinkedComponent, options: HandlerOptions | None = None) -> None:
        self.component = component
        self.options = options or HandlerOptions()
        self.calls: GuestCalls = guest_calls(component)
        reuse = self.options.max_instance_reuse_count
        self.reuse_count = self.calls.default_reuse_count if reuse is None else reuse
        at_once = self.options.max_instance_concurrent_reuse_count
        if at_once is None or not component.concurrent:  # a guest of WASI 0.2 cannot take more
            at_once = self.calls.default_concurrent_count
        self.concurrent_count = at_once
        budget = self._budget = component.engine.budget
        limit, queue = self.options.max_concurrent_requests, self.options.max_queued_requests
        self.admission: Admission[Exchange] = Admission(
            Bounds(
                requests=math.inf if limit is None else limit,
                held=math.inf if queue is None else queue,
                reuse=self.reuse_count,
                at_once=self.concurrent_count,
            ),
            # Not a method, as that would be a cycle, which is not collected where the handler was made at the start.
            lambda: budget.admits(component.instance_size),
            self.options.places,
        )
        if self.options.total_memory is not None:
            self._budget.limit = self.options.total_memory
        self._shortage: Shortage | None = None
        #: there may be requests yet, but none that another should wait for
        self.draining = False
        self._leaving = False
        self._deadlines: Deadlines | None = None
        #: around the task that answers what is under way when the handler is cancelled
        self._last_words = trio.CancelScope()
        self.watchdog = Watchdog(component, self.options.stall_limit, self.options.interrupt_stalls)
        #: what it counts, if it does
        self.metrics: HandlerMetrics | None = None
        #: those of its guests' requests, kept for further ones: no other handler's guests have them
        self.connections: Connections | None = None
        self._observer: Observer | None = None
        self._profiler = component.engine.profiler
        self._worker = Worker if self._profiler is None else ProfiledWorker
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
        """Those that have an instance or make one; may be asked on any thread."""
        return list(self._workers.values())

    @property
    def active(self) -> int:
        """Requests that workers have at the moment; may be asked on any thread, as what follows."""
        return self.admission.active

    @property
    def lingers(self) -> bool:
        """Whether some guest goes on with what it does after its responses."""
        return any(worker.lingers for worker in self.workers)

    @property
    def waiting(self) -> int:
        """Requests that wait for others to be done."""
        return len(self.admission.held)

    @property
    def stalls(self) -> int:
        """Host calls that held up the event loop and were logged."""
        return self.watchdog.stalls

    @property
    def interruptions(self) -> int:
        """Host calls that held up the event loop and were interrupted."""
        return self.watchdog.interruptions

    @property
    def started(self) -> int:
        """Instances whose making was begun so far, which is also the number of the latest."""
        return self.admission.started

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.begin_to_drain()
        # Idle workers end at once, busy ones when their requests are done.
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
            if self.options.places is not None:
                self.options.places.waiting.pop(self, None)
            if self.metrics is not None:
                self.metrics.ended(self)
            if self._profiler is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._profiler.flush)

    def begin_to_drain(self) -> None:
        """Requests still come, but no new clients: all that is not done within ``drain_timeout`` is ended then.

        What could only be done by way of a further request is ended at once. Leaving the handler does this, for those
        that have not done so before.
        """
        assert self._nursery is not None
        self.draining = True
        for worker in self._workers.values():
            worker.alert()
        scope, limit = self._nursery.cancel_scope, self.options.drain_timeout
        if limit is not None and scope.deadline == math.inf:
            scope.deadline = trio.current_time() + limit

    async def handle(self, request: Request) -> Response:
        """The guest's response to a request, as soon as it has set it; its body may still be on its way.

        Raises ExchangeFailed. Cancelling this stops the guest's work on the request and drops its instance.
        """
        return await self.submit(request).wait()

    @uninterrupted
    def submit(self, request: Request, carrier: Carrier | None = None) -> Exchange:
        """Hand a request over without waiting for its response; ``carrier`` tells where it came from."""
        exchange = Exchange(request)
        if self._observer is not None:
            self._observer.submitted(exchange, carrier)
        timeout = self.options.request_timeout
        if timeout is not None:
            exchange.deadline = trio.current_time() + timeout
        verdict, slot = self.admission.submit(exchange)
        if slot is not None:
            if self._deadlines is not None:
                self._deadlines.watch(exchange)
            self._place(exchange, verdict, slot)
        elif verdict is Verdict.HOLD:
            self._hold(exchange)
            if self._deadlines is not None:
                self._deadlines.watch(exchange)
        else:
            self._refuse(exchange)
        return exchange

    def _hold(self, exchange: Exchange) -> None:
        exchange.keeper = self
        # Only now, as a server may have many handlers, and each end of an instance would ask all of them.
        self._budget.on_freed[self] = self._place_held
        if self.options.places is not None:
            self.options.places.waiting.setdefault(self, self._place_one)
        if self.admission.short:
            assert self._shortage is not None
            self._shortage.watch((exchange,))

    def _refuse(self, exchange: Exchange) -> None:
        self._overloaded(exchange, f"{self.waiting} requests wait already")

    def _refuse_for_memory(self, exchange: Exchange) -> None:
        self.admission.withdraw(exchange)
        exchange.keeper = None
        exchange.request.body.close()
        self._overloaded(exchange, f"there is no memory for another instance, with {self._budget.accounts} there")
        self._leave()

    def _overloaded(self, exchange: Exchange, reason: str) -> None:
        failure = Overloaded(reason)
        log.warning("%s: %s", exchange, failure, extra={"about": exchange.about()})
        exchange.fail(failure, HttpError("internal-error", reason))

    def responded(self, exchange: Exchange) -> None:
        """Of a request that is held there are no responses."""

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Nobody waits for a request that is held."""
        self.admission.withdraw(exchange)
        exchange.keeper = None
        exchange.request.body.close()

    def _place(self, exchange: Exchange, verdict: Verdict, slot: Slot) -> None:
        exchange.advance(Event.PLACE)
        exchange.keeper = None
        if verdict is Verdict.ACCEPT:
            self._workers[slot].offer(exchange)
            return
        assert self._nursery is not None, "the handler is entered before it is given requests"
        expected = self.component.instance_size
        self._budget.reserve(expected)
        strategy = Concurrent if self.component.concurrent else OneAtATime
        worker = self._workers[slot] = self._worker(self, slot, strategy)
        if self._observer is not None:
            self._observer.instance_started(worker.number)
        self._nursery.start_soon(self._run_worker, worker, exchange, expected)

    def dispatch_again(self, exchanges: Sequence[Exchange]) -> None:
        """A worker gives back requests that it has not begun."""
        for exchange in exchanges:
            if exchange.state is State.PLACED and not self.admission.can_place():
                exchange.advance(Event.HOLD)
                self.admission.hold(exchange)
                self._hold(exchange)
            else:
                self._place(exchange, *self.admission.place())

    def set_ready(self, slot: Slot, ready: bool) -> None:
        """A worker's instance could begin a request now, or could not."""
        self.admission.set_ready(slot, ready)
        if ready:
            self._place_held()

    def _place_held(self) -> None:
        """Place the requests that wait, as far as there is a place now."""
        if self.options.places is not None:
            self.options.places.fill()
        while self._place_one():
            pass
        admission = self.admission
        if not admission.held:
            self._budget.on_freed.pop(self, None)
        elif admission.short and self._shortage is not None:
            # They may have waited for places so far, and wait for memory now.
            self._shortage.watch(admission.held)

    def _place_one(self) -> bool:
        """Place the request that waits for longest, if there is a place for it; whether there was."""
        admission, places = self.admission, self.options.places
        exchange = admission.next_held()
        if exchange is not None:
            self._place(exchange, *admission.place())
        if places is not None and not admission.held:
            places.waiting.pop(self, None)
        return exchange is not None

    @uninterrupted
    async def _run_worker(self, worker: Worker, exchange: Exchange, expected: int) -> None:
        self._budget.unreserve(expected)
        try:
            await worker.run(exchange)
        except BaseException as error:  # what is of this instance's own making must not reach other instances
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
        """A worker is done with a request; the next that waits takes its place."""
        admission = self.admission
        admission.release()
        self._place_held()
        self.note_rest()
        self._leave()

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        """What an instance writes to in the place of these."""
        return (stdout, stderr) if self._observer is None else self._observer.sinks(instance, stdout, stderr)

    def note_rest(self) -> None:
        """Tell if no request is under way."""
        if not self.admission.active and self._observer is not None:
            self._observer.idle()

    async def _answer_when_cancelled(self) -> None:
        """When the handler is cancelled fail what is under way at once: a host function may take its time to end."""
        with self._last_words:
            try:
                await trio.sleep_forever()
            finally:
                if not self._last_words.cancel_called:
                    for worker in self._workers.values():
                        for exchange in (*worker.in_flight(), *worker.inbox):
                            failure = ShuttingDown(worker.cancelled_for)
                            exchange.fail(failure, HttpError("internal-error", str(failure)))

    def _leave(self) -> None:
        """Where this was the last request, there is nothing left to watch."""
        if self._leaving and not self.active and not self.waiting:
            self._last_words.cancel()
            if self._deadlines is not None:
                self._deadlines.stop()
            if self._shortage is not None:
                self._shortage.stop()
            if self.connections is not None:
                self.connections.close()
