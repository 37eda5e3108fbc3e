"""A worker: a task with a nursery that holds one instance, and has it serve requests until it is used up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
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
from wasi_trio.serve.pool._exchange import (
    DeadlinePassed,
    Event,
    Exchange,
    ExchangeFailed,
    GuestFailed,
    InstantiationFailed,
    ShuttingDown,
    State,
)
from wasi_trio.serve.pool._guest import GuestCalls
from wasi_trio.serve.pool._metering import charge
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.serve.pool._watchdog import Watchdog
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi._stdio import LinePrefixSink, StdoutSink, TailSink
from wasi_trio.wasi.http._connections import Connections
from wasi_trio.wasi.http._errors import HttpError

log = get_logger("wasi_trio.serve")

#: why a request ends that neither the guest nor its client has ended
SHUTTING_DOWN = "the server is shutting down"
TOO_LONG = "the guest went on after its response for too long"
BACKGROUND_FAILED = "a task failed that the host ran for the instance"


class Pool(Protocol):
    """What a worker is one of."""

    component: LinkedComponent
    options: HandlerOptions
    calls: GuestCalls
    admission: Admission[Exchange]
    watchdog: Watchdog
    #: of the guests' requests
    connections: Connections | None
    #: there may be requests yet, but none that another should wait for
    draining: bool

    def set_ready(self, slot: Slot, ready: bool) -> None:
        """A worker's instance could begin a request now, or could not."""

    def release(self) -> None:
        """A worker is done with a request."""

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        """What an instance writes to in the place of these."""

    def note_rest(self) -> None:
        """The guest of a worker has nothing left to do after its responses."""

    def dispatch_again(self, exchanges: Sequence[Exchange]) -> None:
        """A worker gives back requests that it has not begun, and that have no place any more."""


class Strategy(Protocol):
    """How requests are put to an instance, which depends on the version of WASI that its guest speaks."""

    def in_flight(self) -> Sequence[Exchange]:
        """The requests that the guest works on; may be asked on any thread, as what follows."""

    @property
    def cpu_bound(self) -> bool:
        """Whether a task of the guest computes, as far as this knows."""

    @property
    def asks_for_backpressure(self) -> bool:
        """Whether the guest wants no further request for now."""

    @property
    def lingers(self) -> bool:
        """Whether the guest goes on with something although no request is under way."""

    async def serve(self, instance: Instance, first: Exchange) -> None:
        """Serve a request and those that come to the worker's inbox; returns when the instance is used up.

        Every request that this begins it also finishes, however it ends.
        """

    def alert(self) -> None:
        """The worker has got a request, or takes no more."""


class Worker:
    """Serves requests with one instance, in the way of its strategy.

    It ends when it is retired (``retire``) and its requests are done, or when the instance fails. What is in its inbox
    then is given back to the pool.
    """

    def __init__(self, pool: Pool, slot: Slot, strategy: Callable[[Worker], Strategy]) -> None:
        self.pool = pool
        self.slot = slot
        self.number = slot.number
        #: what it is called in logs
        self.name = f"{pool.options.instance_prefix}{slot.number}"
        #: whether it got as far as having an instance
        self.made = False
        #: what requests are told that end with it, where it is cancelled
        self.cancelled_for = SHUTTING_DOWN
        #: requests that the instance has not begun
        self.inbox: deque[Exchange] = deque()
        self.strategy: Strategy | None = strategy(self)
        #: once it is made
        self.instance: Instance | None = None
        self._stderr: TailSink | None = None
        #: when, in trio's time, it was begun with
        self.born = 0.0
        self._task: trio.lowlevel.Task | None = None
        #: what the instance is made for, meanwhile, and around that
        self._making: tuple[Exchange, ...] = ()
        self._scope: trio.CancelScope | None = None
        self._idle_since = 0.0
        #: how long it is kept although only a further request could have the guest go on; None where others could
        self._stuck: float | None = None
        #: set when there is no request any more, if the task that looks after idleness waits for that
        self._became_idle: trio.Event | None = None

    def in_flight(self) -> Sequence[Exchange]:
        """The requests that the instance works on; may be asked on any thread."""
        strategy = self.strategy
        return self._making or (() if strategy is None else strategy.in_flight())

    @property
    def lingers(self) -> bool:
        """Whether the guest goes on with something although no request is under way."""
        return self.strategy is not None and self.strategy.lingers

    def cpu_bound(self, current: Guest | None) -> bool:
        """Whether the guest computes at the moment, or could; ``current`` is what runs. May be asked on any thread."""
        if current is not None and current.root is self.instance:
            return True
        task, strategy = self._task, self.strategy
        if task is not None and self._queue.has(self.pool.component, task):
            return True
        return strategy is not None and strategy.cpu_bound

    async def run(self, first: Exchange) -> None:
        """Make the instance, serve ``first`` and what comes after; returns when the instance is gone."""
        self.born, self._task = trio.current_time(), trio.lowlevel.current_task()
        self._queue = run_queue()
        admission, slot = self.pool.admission, self.slot
        if first.trace is not None:
            ORIGIN.set(first.trace)  # or it would be that of the request whose end has made room for this worker
        admission.set_ready(slot, False)  # not before the instance is there: making it may take long
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
                            first.trace.instance_made(self.born)
                        self.instance = instance
                        try:
                            assert self.strategy is not None
                            await self.strategy.serve(instance, first)
                        finally:
                            await instance.aclose()
                finally:
                    del self.pool.watchdog.watched[context]
                    context.finish()
                    context.nursery = None
                    nursery.cancel_scope.cancel()
            ended = True
        finally:
            self.retire(Retirement.SHUTDOWN)
            self.strategy = self.instance = self._task = None
            if not first.over:
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
        """All that is known of a trap: its cause, what the guest printed of it if it is Python, the wasm backtrace."""
        cause, separator, backtrace = str(trap).partition("\n")
        printed = "" if self._stderr is None else last_traceback(self._stderr.tail())
        if printed:
            printed = f"\nthe last traceback on its standard error:\n{printed}"
        return Lines(f"{cause}{printed}{separator}{backtrace}")

    async def _make(self, exchange: Exchange, context: WasiContext) -> Instance | None:
        """The instance; None, with the exchange done, where it cannot be made."""
        exchange.keeper = self
        self._making = (exchange,)
        limit = self.pool.options.max_cpu_time
        with trio.CancelScope() as self._scope:
            if exchange.state is not State.PLACED:  # its client left, or its deadline passed, before this had begun
                self._scope.cancel()
            try:
                meter = None if limit is None else lambda _, seconds: charge(exchange, seconds, limit)
                return await Instance.instantiate(self.pool.component, context, self.pool.options.limits, meter)
            except Exit as exit_:
                reason = f"it exited with code {exit_.code}"
            except ComponentError as error:
                exchange.cause = error
                reason = str(error)
            except Exception as error:  # a host function's, or of an interface's making
                exchange.cause = error
                reason = f"a host function failed: {type(error).__name__}"
                log.exception(
                    "instance %s: a host function failed as it was made for %s",
                    self.name,
                    exchange,
                    extra={"about": exchange.about(self.name)},
                )
            finally:
                self._making = ()
            log.error(
                "instance %s could not be made for %s: %s",
                self.name,
                exchange,
                Lines(reason),
                extra={"about": exchange.about(self.name)},
            )
            failed = InstantiationFailed(f"no instance could be made: {first_line(reason)}")
            self.retire(Retirement.FAILED_TO_START)
            exchange.fail(failed, HttpError("internal-error", str(failed)))
        timed_out = self._scope.cancelled_caught
        if timed_out:
            self.retire(Retirement.CANCELLED if exchange.left else Retirement.DEADLINE)
        self.done(exchange, "", timed_out=timed_out)
        return None

    def responded(self, exchange: Exchange) -> None:
        """Of an instance that is being made there are no responses."""

    def stop(self, exchange: Exchange, late: bool) -> None:
        """Nobody waits for what the instance is being made for."""
        if self._scope is not None:
            self._scope.cancel()

    def note_cancellation(self, error: trio.Cancelled) -> None:
        """It is cancelled in the middle: for a task that failed in its nursery, or from outside."""
        if error.source == "nursery":
            self.cancelled_for = BACKGROUND_FAILED

    # ---- requests ----------------------------------------------------------------------------------------

    def offer(self, exchange: Exchange) -> None:
        """Take on a request, as admission has decided."""
        self.inbox.append(exchange)
        self.alert()

    def retire(self, reason: Retirement) -> None:
        """Take on no more requests; what is under way goes on."""
        self.pool.admission.retire(self.slot, reason)
        self.alert()

    def alert(self) -> None:
        """Have the strategy see whether its requests can be finished under the circumstances as they are now."""
        if self.strategy is not None:
            self.strategy.alert()

    def give_back(self) -> None:
        """Let others have what the instance has not begun."""
        if self.inbox:
            inbox, self.inbox = self.inbox, deque()
            self.pool.admission.set_ready(self.slot, False)
            self.pool.admission.give_back(self.slot, len(inbox))
            self.note_load()
            self.pool.dispatch_again(inbox)

    def begin(self, exchange: Exchange) -> bool:
        """A guest is to be called with the request; false, and it is done, where it has ended before that."""
        if exchange.state is not State.PLACED:  # its client left, or its deadline passed, before we came to it
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
        """No guest works on the exchange any more: whatever is not complete by now never will be.

        ``ready`` says whether the instance could begin another. ``closed`` says that the reader of the response has
        closed it, and its guest may go on: the keeper is still to be told of a client that has left.
        """
        if exchange.observer is not None and exchange.answered:
            exchange.observer.ended(exchange)
        left = exchange.left
        response = exchange.response
        # One whose reader has closed it, as with HEAD or where the client has left, was not broken off by the guest.
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
        exchange.advance(Event.CLOSE if closed else Event.END)
        if exchange.state is State.ENDED:
            exchange.keeper = exchange.work = None
        self.pool.admission.done(self.slot, ready)
        self.note_load()
        self.pool.release()

    # ---- idleness ----------------------------------------------------------------------------------------

    def note_load(self) -> None:
        """The instance has fewer requests than before."""
        if not self.slot.load:
            self._begin_idleness()

    @property
    def stuck(self) -> bool:
        """Whether only a further request could have the guest go on."""
        return self._stuck is not None

    def note_stuck(self, timeout: float | None) -> None:
        """Only a further request could have the guest go on with any that it has, and that has so many seconds to come.

        None takes that back.
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
        """Retire it when it was without a request for too long; to be run beside it."""
        while self.slot.retired is None:
            timeout = self.pool.options.idle_instance_timeout if self._stuck is None else self._stuck
            if self.slot.load and self._stuck is None:
                self._became_idle = trio.Event()
                await self._became_idle.wait()
            elif trio.current_time() < self._idle_since + timeout:
                await trio.sleep_until(self._idle_since + timeout)
            else:
                self.retire(Retirement.IDLE)


#: how Python begins to tell of an exception
_TRACEBACK = "Traceback (most recent call last):"


def last_traceback(printed: str) -> str:
    """The last of the tracebacks in what a program has printed; empty where there is none."""
    start = printed.rfind(_TRACEBACK)
    if start < 0:
        return ""
    lines = printed[start:].splitlines()
    # Indented lines, and one or more about the exception.
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    return "\n".join(lines[:end])


def first_line(text: str) -> str:
    return text.split("\n", 1)[0]
