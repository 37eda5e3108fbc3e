"""The watchdog: notices host functions that hold up the event loop, says so, and interrupts them at the deadline.

A host function runs on the loop's thread, so one that blocks stops everything else, deadlines included. While guests
run the ticker looks every 10 ms at what host call is running; one that it sees twice wakes the watchdog's thread, which
sleeps otherwise. How a call is interrupted, and why nothing else ever is, is told in ``runtime._host_calls``.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, MutableMapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import trio

from wasi_trio import runtime
from wasi_trio._texts import Lines, get_logger, shown, shown_lines
from wasi_trio.serve.pool._exchange import Exchange, named

if TYPE_CHECKING:
    from wasi_trio.runtime._component import LinkedComponent
    from wasi_trio.runtime._running import HostCall

log = get_logger("wasi_trio.serve")

#: stalls that are remembered
KEPT = 8
#: seconds by which a call may hold up the loop beyond a deadline: most are over by then and harm nobody
GRACE = 0.020
#: seconds until a call that goes on is interrupted again: it may have caught the exception
AGAIN = 0.5
#: seconds after which it is looked again whether a deadline has passed, whatever the clock said
RECHECK = 1.0

#: how the names of the runtime's files begin, and of the code that it has generated
_RUNTIME = (os.path.dirname(str(runtime.__file__)) + os.sep, "<host call")


class Watched(Protocol):
    """What runs an instance."""

    #: what it is called in logs
    name: str

    def in_flight(self) -> Iterable[Exchange]:
        """The requests that the instance works on; called on any thread."""


class _Held:
    """A host call that was seen to hold up the loop since ``since``."""

    __slots__ = ("call", "interrupted", "logged", "since")

    def __init__(self, call: HostCall, since: float) -> None:
        self.call = call
        self.since = since
        self.logged = False
        #: when it was last interrupted
        self.interrupted = -math.inf


class Watchdog:
    """Watches over the host calls of the instances in ``watched``, which are found there by their contexts.

    A call that runs when the deadline of a request of its instance has passed is interrupted. One that takes longer
    than ``stall_limit`` seconds (None: no such limit) is logged with the Python stack it is in, once, and interrupted
    if ``interrupt_stalls`` says so. ``stalls`` counts those that were logged, ``interruptions`` those interrupted.

    ``start`` and ``stop`` are to be called on the loop's thread, the first from trio.
    """

    def __init__(self, component: LinkedComponent, stall_limit: float | None, interrupt_stalls: bool) -> None:
        self.watched: MutableMapping[Any, Watched] = {}
        self.stalls = 0
        #: the last ones that were logged, for whoever looks at the handler
        self.latest: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.interruptions = 0
        self._component = component
        self._engine = component.engine
        self._stall_limit = math.inf if stall_limit is None else stall_limit
        self._interrupt_stalls = interrupt_stalls
        self._clock: trio.abc.Clock | None = None
        self._seen: HostCall | None = None
        self._since = 0.0
        self._held: _Held | None = None
        self._alarm = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._clock = trio.lowlevel.current_clock()
        self._engine.interrupter.attach()
        self._engine.ticker.watchers += (self._look,)

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        ticker = self._engine.ticker
        ticker.watchers = tuple(watch for watch in ticker.watchers if watch != self._look)
        self._stopping = True
        self._alarm.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._engine.interrupter.detach()

    @property
    def now(self) -> float:
        """The time of the loop that the handler is on; may be asked on any thread."""
        return 0.0 if self._clock is None else self._clock.current_time()

    @property
    def stalled(self) -> bool:
        """Whether a call that was logged still holds up the loop; to be asked on another thread."""
        held = self._held
        return held is not None and held.logged and self._engine.host_call is held.call

    def _look(self) -> None:
        """At each tick, on the ticker's thread."""
        call = self._engine.host_call
        if call is not self._seen:
            self._seen = call
            self._since = time.monotonic()
        elif call is not None and (self._held is None or self._held.call is not call):
            self._held = _Held(call, self._since)
            self._alarm.set()
            if self._thread is None and not self._stopping:
                # Few handlers ever need one, and a server may have many handlers.
                self._thread = threading.Thread(target=self._run, name="wasi_trio watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        timeout: float | None = None
        while True:
            self._alarm.wait(timeout)
            self._alarm.clear()
            if self._stopping:
                return
            held = self._held
            timeout = None if held is None else self._attend(held)

    def _attend(self, held: _Held) -> float | None:
        """Do what is due about a call that holds up the loop: seconds until there may be more, None if it is over."""
        instance = self.watched.get(held.call[1].root.context)
        if instance is None or self._engine.host_call is not held.call:
            return None
        requests = [request for request in instance.in_flight() if request.expected]
        assert self._clock is not None
        now = time.monotonic()
        first = min((request.deadline for request in requests), default=math.inf)
        until_deadline = max(first - self._clock.current_time(), held.since - now) + GRACE
        until_limit = held.since + self._stall_limit - now
        until_again = held.interrupted + AGAIN - now
        stalled = until_limit <= 0
        if (until_deadline <= 0 or (stalled and self._interrupt_stalls)) and until_again <= 0:
            self._interrupt(held, instance, requests, overdue=until_deadline <= 0)
            until_again = AGAIN
        if stalled and not held.logged:
            self._log(
                held, instance, requests, self._stack(), "has held up the event loop for %.1f s" % (now - held.since)
            )
        return min(RECHECK, *(wait for wait in (until_deadline, until_limit, until_again) if wait > 0))

    def _interrupt(self, held: _Held, instance: Watched, requests: list[Exchange], overdue: bool) -> None:
        stack = self._stack()
        if not self._engine.interrupter.interrupt(held.call):
            return
        first_time = held.interrupted == -math.inf
        held.interrupted = time.monotonic()
        if first_time:
            self.interruptions += 1
            why = "past a request's deadline" if overdue else f"for {held.interrupted - held.since:.1f} s"
            self._log(held, instance, requests, stack, f"holds up the event loop {why} and is interrupted")

    def _log(self, held: _Held, instance: Watched, requests: list[Exchange], stack: str, what: str) -> None:
        held.logged = True
        self.stalls += 1
        func = held.call[0]
        name = f"{getattr(func, 'interface', '')} {getattr(func, 'name', '')}".strip()
        self.latest.append(
            {
                "time": time.time(),
                "instance": instance.name,
                "function": shown(name),
                "what": shown(what),
                "requests": shown(named(requests)),
                "stack": shown_lines(stack),
            }
        )
        log.error(
            "instance %s of %s: the host function %s %s, while these requests are under way: %s\n%s",
            instance.name,
            self._component.name,
            name,
            what,
            named(requests),
            Lines(stack),
            extra={"about": {"instance": instance.name, "request": named(requests)}},
        )

    def _stack(self) -> str:
        """Where the loop's thread is, as a traceback, from the host function on."""
        frame = sys._current_frames().get(self._engine.interrupter.thread)
        frames: list[tuple[FrameType, int]] = []
        for caller, line in traceback.walk_stack(frame):
            if frames and caller.f_code.co_filename.startswith(_RUNTIME):
                break
            frames.append((caller, line))
        summary = traceback.StackSummary.extract(iter(reversed(frames)))
        return "Stack of the stalled thread (most recent call last):\n" + "".join(summary.format()).rstrip()
