"""A worker: a task with a nursery that creates one instance, serves requests with it, and closes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import trio

from wasi_trio._texts import Lines, get_logger
from wasi_trio.component._errors import ComponentError, Trap
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.runtime._run_queue import run_queue
from wasi_trio.runtime._running import Guest
from wasi_trio.serve.pool._admission import Admission, Slot
from wasi_trio.serve.pool._exchange import Exchange, named
from wasi_trio.serve.pool._failures import (
    DeadlinePassed,
    ExchangeFailed,
    GuestFailed,
    InstantiationFailed,
    ShuttingDown,
)
from wasi_trio.serve.pool._guest import GuestCalls
from wasi_trio.serve.pool._metering import charge
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.serve.pool._states import Event, State
from wasi_trio.serve.pool._watchdog import Watchdog
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi._stdio import LinePrefixSink, StdoutSink, TailSink
from wasi_trio.wasi.http._connections import Connections
from wasi_trio.wasi.http._errors import HttpError

log = get_logger("wasi_trio.serve")

#: The reasons for a request that neither the guest nor the client ended.
SHUTTING_DOWN = "the server is shutting down"
TOO_LONG = "the guest continued for too long after its response"
BACKGROUND_FAILED = "a background task of the instance failed in the host"


class Pool(Protocol):
    """The worker's view of its handler."""

    component: LinkedComponent
    options: HandlerOptions
    calls: GuestCalls
    admission: Admission[Exchange]
    watchdog: Watchdog
    #: The connections of the guests' requests.
    connections: Connections | None
    #: Whether the handler is about to end. A request must not wait for another one to arrive.
    draining: bool

    def set_ready(self, slot: Slot, ready: bool) -> None:
        """Note whether a worker's instance could begin a request now."""

    def release(self) -> None:
        """Free the place of a finished request."""

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        """Return the sinks for an instance, in the place of these."""

    def note_rest(self) -> None:
        """Note that a worker's guest has finished its work after its responses."""

    def dispatch_again(self, exchanges: Sequence[Exchange]) -> None:
        """Take requests that a worker gave back without beginning them. They have no place."""


class Strategy(Protocol):
    """The way in which an instance serves requests, which depends on the WASI version of its guest."""

    def in_flight(self) -> Sequence[Exchange]:
        """Return the active requests of the guest. Safe to call on any thread, like the following properties."""

    @property
    def cpu_bound(self) -> bool:
        """Whether a task of the guest is known to be computing."""

    @property
    def asks_for_backpressure(self) -> bool:
        """Whether the guest signals backpressure."""

    @property
    def lingers(self) -> bool:
        """Whether the guest continues to work without an active request."""

    async def serve(self, instance: Instance, first: Exchange) -> None:
        """Serve a request, and those that come to the worker's inbox. Return when the instance is used up.

        It finishes every request that it begins, however it ends.
        """

    def alert(self) -> None:
        """Notice a new request in the inbox, or the worker's retirement."""


class Worker:
    """Serves requests with one instance, according to its strategy.

    It ends once it is retired (``retire``) and its requests are done, or when the instance fails. The requests in its
    inbox then go back to the pool.
    """

    def __init__(self, pool: Pool, slot: Slot, strategy: Callable[[Worker], Strategy]) -> None:
        self.pool = pool
        self.slot = slot
        self.number = slot.number
        #: The instance's name in logs.
        self.name = f"{pool.options.instance_prefix}{slot.number}"
        #: Whether the instance was created.
        self.made = False
        #: The reason for its requests if the worker is cancelled.
        self.cancelled_for = SHUTTING_DOWN
        #: The requests that the instance has not begun.
        self.inbox: deque[Exchange] = deque()
        self.strategy: Strategy | None = strategy(self)
        #: The instance, once it is created.
        self.instance: Instance | None = None
        #: The size of its memory in bytes beyond which it takes no more requests.
        self._max_memory = 0
        self._stderr: TailSink | None = None
        #: The time of the worker's start, in trio's time.
        self.started_at = 0.0
        self._task: trio.lowlevel.Task | None = None
        #: The request for which the instance is being created, and the cancel scope of its creation.
        self._making: tuple[Exchange, ...] = ()
        self._scope: trio.CancelScope | None = None
        self._idle_since = 0.0
        #: The time to wait for a further request if only that could let the guest continue, otherwise None.
        self._stuck: float | None = None
        #: Set when the last request is done, if the idle timer waits for that.
        self._became_idle: trio.Event | None = None

    def in_flight(self) -> Sequence[Exchange]:
        """Return the active requests of the instance. Safe to call on any thread."""
        strategy = self.strategy
        return self._making or (() if strategy is None else strategy.in_flight())

    @property
    def lingers(self) -> bool:
        """Whether the guest continues to work without an active request."""
        return self.strategy is not None and self.strategy.lingers

    def cpu_bound(self, current: Guest | None) -> bool:
        """Return whether the guest is computing, or about to. ``current`` is the current guest. Safe on any thread."""
        if current is not None and current.root is self.instance:
            return True
        task, strategy = self._task, self.strategy
        if task is not None and self._queue.has(self.pool.component, task):
            return True
        return strategy is not None and strategy.cpu_bound

    async def run(self, first: Exchange) -> None:
        """Create the instance, serve ``first`` and further requests, and close the instance."""
        self.started_at, self._task = trio.current_time(), trio.lowlevel.current_task()
        self._queue = run_queue()
        admission, slot = self.pool.admission, self.slot
        if first.trace is not None:
            ORIGIN.set(first.trace)  # in place of that of the request whose end started this worker
        admission.set_ready(slot, False)  # until the instance exists, which may take long
        ended = False
        try:
            async with trio.open_nursery() as nursery:
                context = self._context(nursery)
                self.pool.watchdog.watched[context] = self
                try:
                    instance = await self._make(first, context)
                    if instance is not None:
                        self.made = True
                        if first.trace is not None:
                            first.trace.instance_made(self.started_at)
                        self.instance = instance
                        self._max_memory = self._half_way(instance)
                        try:
                            assert self.strategy is not None
                            await self.strategy.serve(instance, first)
                        finally:
                            await instance.aclose()
                finally:
                    del self.pool.watchdog.watched[context]
                    context.finish()
                    context.own_nursery = None
                    nursery.cancel_scope.cancel()
            ended = True
        finally:
            self.retire(Retirement.SHUTDOWN)
            self.strategy = self.instance = self._task = None
            if not first.place_released:
                self.done(first, self.cancelled_for)
            if ended or self.cancelled_for is not SHUTTING_DOWN:
                self.give_back()
            while self.inbox:
                self.done(self.inbox.popleft(), SHUTTING_DOWN)

    # ---- the instance ------------------------------------------------------------------------------------

    def _context(self, nursery: trio.Nursery) -> WasiContext:
        wasi = self.pool.options.wasi
        stdout, stderr = self.pool.sinks(self.number, wasi.stdout, wasi.stderr)
        if self.pool.options.logging_prefix:
            stdout = LinePrefixSink(stdout, f"stdout [{self.name}] :: ")
            stderr = LinePrefixSink(stderr, f"stderr [{self.name}] :: ")
        self._stderr = TailSink(stderr)
        connections, about = self.pool.connections, {"instance": self.name}
        return WasiContext(
            wasi, nursery=nursery, stdout=stdout, stderr=self._stderr, connections=connections, about=about
        )

    def report(self, trap: Trap) -> Lines:
        """Return a report on a trap: its cause, the traceback that a Python guest printed, and the wasm backtrace."""
        cause, separator, backtrace = str(trap).partition("\n")
        printed = "" if self._stderr is None else last_traceback(self._stderr.tail())
        if printed:
            printed = f"\nthe last traceback on its standard error:\n{printed}"
        return Lines(f"{cause}{printed}{separator}{backtrace}")

    def log_trap(self, exchanges: Sequence[Exchange], trap: Trap) -> None:
        """Log a trap during these requests."""
        requests = named(exchanges)
        about = {"instance": self.name, "request": requests}
        extra = {"about": exchanges[0].about(self.name) if len(exchanges) == 1 else about}
        if exchanges and all(exchange.unread for exchange in exchanges):
            # A guest may trap if a write fails, or if it is told of a cancellation. No client waits for it.
            log.warning("instance %s, at %s, trapped after its client left", self.name, requests, extra=extra)
        else:
            log.error("instance %s, at %s, trapped: %s", self.name, requests, self.report(trap), extra=extra)

    def _half_way(self, instance: Instance) -> int:
        """Return the size in the middle between the size of a new instance and the limit.

        Memories never shrink. Some guests leak with each request, and would trap in the middle of one.
        """
        limits = self.pool.options.limits
        size = instance.memory_size
        return size + max(0, min(limits.memory, limits.instance_memory) - size) // 2

    async def _make(self, exchange: Exchange, context: WasiContext) -> Instance | None:
        """Create the instance. Return None, with the exchange done, if it cannot be created."""
        exchange.owner = self
        self._making = (exchange,)
        limit = self.pool.options.max_cpu_time
        with trio.CancelScope() as self._scope:
            if exchange.state is not State.PLACED:  # its client left, or its deadline passed, before the start
                self._scope.cancel()
            try:
                meter = None if limit is None else partial(_charge, exchange, limit)
                return await Instance.instantiate(self.pool.component, context, self.pool.options.limits, meter)
            except Exit as exit_:
                reason = f"it exited with code {exit_.code}"
            except ComponentError as error:
                exchange.cause = error
                reason = str(error)
            except Exception as error:  # from a host function, or from the creation of an interface
                exchange.cause = error
                reason = f"a host function failed: {type(error).__name__}"
                log.exception(
                    "instance %s: a host function failed during its creation for %s",
                    self.name,
                    exchange,
                    extra={"about": exchange.about(self.name)},
                )
            finally:
                self._making = ()
            log.error(
                "instance %s could not be created for %s: %s",
                self.name,
                exchange,
                Lines(reason),
                extra={"about": exchange.about(self.name)},
            )
            failed = InstantiationFailed(f"no instance could be created: {first_line(reason)}")
            self.retire(Retirement.FAILED_TO_START)
            exchange.fail(failed, HttpError("internal-error", str(failed)))
        timed_out = self._scope.cancelled_caught
        if timed_out:
            self.retire(Retirement.CANCELLED if exchange.abandoned else Retirement.DEADLINE)
        self.done(exchange, "", timed_out=timed_out)
        return None

    def responded(self, exchange: Exchange) -> None:
        """Do nothing: no guest responds while the instance is being created."""

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Cancel the creation of the instance for an abandoned request."""
        if self._scope is not None:
            self._scope.cancel()

    def note_cancellation(self, error: trio.Cancelled) -> None:
        """Note the cause of a cancellation: a failed task in the worker's nursery, or something outside."""
        if error.source == "nursery":
            self.cancelled_for = BACKGROUND_FAILED

    # ---- requests ----------------------------------------------------------------------------------------

    def offer(self, exchange: Exchange) -> None:
        """Accept a request, on admission's decision."""
        self.inbox.append(exchange)
        self.alert()

    def retire(self, reason: Retirement) -> None:
        """Take no more requests. Active ones continue."""
        self.pool.admission.retire(self.slot, reason)
        self.alert()

    def alert(self) -> None:
        """Have the strategy check again whether its requests can still be finished."""
        if self.strategy is not None:
            self.strategy.alert()

    def give_back(self) -> None:
        """Give the requests that the instance has not begun back to the pool."""
        if self.inbox:
            inbox, self.inbox = self.inbox, deque()
            self.pool.admission.set_ready(self.slot, False)
            self.pool.admission.give_back(self.slot, len(inbox))
            self.note_load()
            self.pool.dispatch_again(inbox)

    def begin(self, exchange: Exchange) -> bool:
        """Begin a request. If its client has left, or its deadline has passed, finish it and return false."""
        if exchange.state is not State.PLACED:
            self.slot.taken -= 1
            self.done(exchange, "")
            return False
        exchange.advance(Event.BEGIN)
        if exchange.observer is not None:
            exchange.observer.began(exchange, self.number)
        return True

    def done(
        self, exchange: Exchange, reason: str, timed_out: bool = False, ready: bool = False, closed: bool = False
    ) -> None:
        """Finish a request that the guest is done with. An incomplete response is cut.

        ``ready`` says whether the instance could begin another request. ``closed`` says that the reader of the response
        has closed it while the guest may continue. The owner must then still learn if the client leaves.
        """
        if exchange.observer is not None and exchange.answered:
            exchange.observer.ended(exchange)
        left = exchange.abandoned
        response = exchange.response
        # If the reader closed the response, as for HEAD or when the client has left, the guest did not cut it.
        cut = response is not None and not response.body.finished and (timed_out or not response.body.closed)
        if cut or not exchange.answered:
            failure: ExchangeFailed = (ShuttingDown if reason is SHUTTING_DOWN else GuestFailed)(reason)
            if exchange.overdue and not left:
                failure = DeadlinePassed(f"no response within {self.pool.options.request_timeout:g} s")
            elif timed_out:
                failure = GuestFailed("its client left" if left else TOO_LONG)
            exchange.fail(failure, HttpError("internal-error", str(failure)))
            if not left:
                log.warning(
                    "instance %s: %s: %s", self.name, exchange, failure, extra={"about": exchange.about(self.name)}
                )
        elif exchange.failure is not None:
            log.warning(
                "instance %s: %s: %s", self.name, exchange, exchange.failure, extra={"about": exchange.about(self.name)}
            )
        exchange.request.body.close()
        exchange.advance(Event.CLOSE if closed else Event.GUEST_DONE)
        if exchange.state is State.ENDED:
            exchange.owner = exchange.work = None
        instance, admission = self.instance, self.pool.admission
        if instance is not None and instance.memory_size > self._max_memory and not admission.closed(self.slot):
            self.retire(Retirement.MEMORY)
        admission.done(self.slot, ready)
        self.note_load()
        self.pool.release()

    # ---- idleness ----------------------------------------------------------------------------------------

    def note_load(self) -> None:
        """Note that the instance has fewer requests than before."""
        if not self.slot.load:
            self._begin_idleness()

    @property
    def stuck(self) -> bool:
        """Whether only a further request could let the guest continue."""
        return self._stuck is not None

    def note_stuck(self, timeout: float | None) -> None:
        """Note that only a further request could let the guest continue, and wait for one at most ``timeout`` seconds.

        None takes the note back.
        """
        if timeout is not None and self._stuck is None:
            self._begin_idleness()
        self._stuck = timeout

    def _begin_idleness(self) -> None:
        self._idle_since = trio.current_time()
        if self._became_idle is not None:
            self._became_idle.set()
            self._became_idle = None

    async def retire_when_idle(self) -> None:
        """Retire the instance when it was idle for too long. Run this next to ``run``."""
        while self.slot.retired is None:
            timeout = self.pool.options.idle_instance_timeout if self._stuck is None else self._stuck
            if self.slot.load and self._stuck is None:
                self._became_idle = trio.Event()
                await self._became_idle.wait()
            elif trio.current_time() < self._idle_since + timeout:
                await trio.sleep_until(self._idle_since + timeout)
            else:
                self.retire(Retirement.IDLE)


def _charge(exchange: Exchange, limit: float, task: object, seconds: float) -> None:
    charge(exchange, seconds, limit)


#: The first line of Python's tracebacks.
_TRACEBACK = "Traceback (most recent call last):"


def last_traceback(printed: str) -> str:
    """Return the last traceback in a program's output, or an empty string."""
    start = printed.rfind(_TRACEBACK)
    if start < 0:
        return ""
    lines = printed[start:].splitlines()
    # Indented lines, then one or more lines about the exception.
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    return "\n".join(lines[:end])


def first_line(text: str) -> str:
    return text.split("\n", 1)[0]
