"""The request handler: a pool of workers, each with an instance of the component, fed by a memory channel."""

from __future__ import annotations

import logging
import math
from collections import deque
from types import TracebackType

import trio

from wasi_trio.runtime.component import LinkedComponent
from wasi_trio.serve.concurrent_worker import ConcurrentWorker
from wasi_trio.serve.deadlines import Deadlines
from wasi_trio.serve.exchange import Exchange, Overloaded
from wasi_trio.serve.guest import GuestCalls, guest_calls
from wasi_trio.serve.observer import Observer
from wasi_trio.serve.options import HandlerOptions
from wasi_trio.serve.outcomes import Retirement
from wasi_trio.serve.watchdog import Watchdog
from wasi_trio.serve.worker import Worker
from wasi_trio.wasi.http.errors import HttpError
from wasi_trio.wasi.http.messages import Request, Response

log = logging.getLogger("wasi_trio.serve")


class ProxyHandler:
    """Gives requests to instances of a component and gets their responses.

    To be used as an async context manager: leaving it stops taking requests, lets those under way finish and ends
    the workers; ``drain_timeout`` bounds that, and cancelling the block around it ends them at once. ``component``
    must export an HTTP handler, else LinkError.

    A request goes to a worker that is idle; when none is, a new one is started for it. So the channel never holds a
    request: it is handed over on the spot or not at all.
    """

    def __init__(self, component: LinkedComponent, options: HandlerOptions | None = None) -> None:
        self.component = component
        self.options = options or HandlerOptions()
        self.calls: GuestCalls = guest_calls(component)
        reuse = self.options.max_instance_reuse_count
        self.reuse_count = self.calls.default_reuse_count if reuse is None else reuse
        at_once = self.options.max_instance_concurrent_reuse_count
        self.concurrent_count = self.calls.default_concurrent_count if at_once is None else at_once
        limit = self.options.max_concurrent_requests
        self.max_requests = math.inf if limit is None else limit
        queue = self.options.max_queued_requests
        self.max_queued = math.inf if queue is None else queue
        #: requests that workers have at the moment
        self.active = 0
        #: workers started so far, which is also the number of the latest instance
        self.started = 0
        #: there may be requests yet, but none that another should wait for
        self.draining = False
        self._leaving = False
        self._waiting: deque[Exchange] = deque()
        self._deadlines: Deadlines | None = None
        self.watchdog = Watchdog(component, self.options.stall_limit, self.options.interrupt_stalls)
        self._observer: Observer | None = None
        #: workers that can take on more requests beside what they have (WASI 0.3), the first to be asked first
        self.roomy: dict[ConcurrentWorker, None] = {}
        self._concurrent_workers: set[ConcurrentWorker] = set()
        self._give, self.work = trio.open_memory_channel[Exchange](0)
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> ProxyHandler:
        self._nursery = await self._nursery_manager.__aenter__()
        self._observer = self._new_observer()
        if self.options.request_timeout is not None:
            self._deadlines = Deadlines(self._nursery, self.options.request_timeout)
        self.watchdog.start()
        return self

    def _new_observer(self) -> Observer | None:
        metrics = None
        listeners = [listen(self.component.name) for listen in self.options.listeners]
        if self.options.metrics is not None:
            metrics = self.options.metrics.of(self.component.name)
            metrics.in_progress = lambda: self.active
            metrics.waiting = lambda: self.waiting
            metrics.stalls = lambda: self.watchdog.stalls
            metrics.interruptions = lambda: self.watchdog.interruptions
        elif not listeners and not log.isEnabledFor(logging.INFO):
            return None
        return Observer(self.component.name, metrics, listeners)

    @property
    def waiting(self) -> int:
        """Requests that wait for others to be done; may be asked on any thread."""
        return sum(not exchange.finished for exchange in tuple(self._waiting))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self.begin_to_drain()
        # Idle workers end when the channel does; busy ones when their request is done.
        self._give.close()
        self._leaving = True
        for worker in self._concurrent_workers:
            worker.retire()
        self._leave()
        try:
            return await self._nursery_manager.__aexit__(kind, error, traceback)
        finally:
            self.watchdog.stop()

    def begin_to_drain(self) -> None:
        """Requests still come, but no new clients: all that is not done within ``drain_timeout`` is ended then.

        What could only be done by way of a further request is ended at once. Leaving the handler does this, for those
        that have not done so before.
        """
        assert self._nursery is not None
        self.draining = True
        for worker in self._concurrent_workers:
            worker.look_again()
        scope, limit = self._nursery.cancel_scope, self.options.drain_timeout
        if limit is not None and scope.deadline == math.inf:
            scope.deadline = trio.current_time() + limit

    async def handle(self, request: Request) -> Response:
        """The guest's response to a request, as soon as it has set it; its body may still be on its way.

        Raises ExchangeFailed. Cancelling this stops the guest's work on the request and drops its instance.
        """
        return await self.submit(request).wait()

    def submit(self, request: Request) -> Exchange:
        """Hand a request over without waiting for its response."""
        exchange = Exchange(request)
        if self._observer is not None:
            self._observer.submitted(exchange)
        timeout = self.options.request_timeout
        if timeout is not None:
            exchange.deadline = trio.current_time() + timeout
        if self.active >= self.max_requests:
            if len(self._waiting) >= self.max_queued:
                self._refuse(exchange)
                return exchange
            self._waiting.append(exchange)
            if self._deadlines is not None:
                self._deadlines.watch(exchange)
        else:
            if self._deadlines is not None and self.component.concurrent:
                self._deadlines.watch(exchange)
            self._dispatch(exchange)
        return exchange

    def _refuse(self, exchange: Exchange) -> None:
        failure = Overloaded(f"{len(self._waiting)} requests wait already")
        log.warning("%r: %s", exchange.request, failure)
        exchange.finished = True
        exchange.fail(failure, HttpError("internal-error", str(failure)))

    def _dispatch(self, exchange: Exchange) -> None:
        self.active += 1
        if self.component.concurrent:
            for worker in self.roomy:
                worker.offer(exchange)
                return
            self._start(ConcurrentWorker, exchange)
            return
        try:
            self._give.send_nowait(exchange)
        except (trio.WouldBlock, trio.ClosedResourceError):  # closed: it had to wait for its turn until after that
            self._start(Worker, exchange)

    def dispatch_again(self, exchange: Exchange) -> None:
        """A worker gives back a request that it has not begun."""
        self.active -= 1
        self._dispatch(exchange)

    def _start(self, kind: type[Worker], exchange: Exchange) -> None:
        assert self._nursery is not None, "the handler is entered before it is given requests"
        self.started += 1
        worker = kind(self, self.started)
        if self._observer is not None:
            self._observer.instance_started(worker.number)
        if isinstance(worker, ConcurrentWorker):
            self._concurrent_workers.add(worker)
            if self._leaving:
                worker.retire()
        self._nursery.start_soon(self._run_worker, worker, exchange)

    async def _run_worker(self, worker: Worker, exchange: Exchange) -> None:
        try:
            await worker.run(exchange)
        except Exception:  # of this instance's own making: it must not reach other instances
            worker.ending = Retirement.HOST_ERROR
            log.exception("instance %d failed in the host", worker.number)
        finally:
            if self._observer is not None:
                self._observer.instance_ended(worker, worker.ending or Retirement.SHUTDOWN)
            if isinstance(worker, ConcurrentWorker):
                self._concurrent_workers.discard(worker)

    def release(self) -> None:
        """A worker is done with a request; the next that waits takes its place."""
        self.active -= 1
        while self._waiting and self.active < self.max_requests:
            exchange = self._waiting.popleft()
            if not exchange.finished:
                self._dispatch(exchange)
        if not self.active and self._observer is not None:
            self._observer.idle()
        self._leave()

    def _leave(self) -> None:
        """Where this was the last request, there is nothing left to watch."""
        if self._leaving and not self.active and self._deadlines is not None:
            self._deadlines.stop()
