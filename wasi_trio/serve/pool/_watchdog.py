"""The watchdog: it logs host functions that block the event loop, and interrupts them at the deadline.

A host function runs on the event loop's thread. If it blocks, everything else stops, including deadlines. While guests
run, the ticker looks at the current host call every 10 ms. A call that it sees twice wakes the watchdog's thread, which
sleeps otherwise. ``runtime._host_calls`` explains how a call is interrupted, and why nothing else ever is.
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

#: The number of remembered stalls.
KEPT = 8
#: The time beyond a deadline before an interruption, in seconds. Most calls return before that.
GRACE = 0.020
#: The interval before a continuing call is interrupted again, in seconds. It may have caught the exception.
AGAIN = 0.5
#: The maximum interval between two checks of the deadline, in seconds.
RECHECK = 1.0

#: The path prefix of the runtime's files, and the name prefix of its generated code.
_RUNTIME = (os.path.dirname(str(runtime.__file__)) + os.sep, "<host call")


class Watched(Protocol):
    """A worker with an instance."""

    #: The instance's name in logs.
    name: str

    def in_flight(self) -> Iterable[Exchange]:
        """Return the active requests of the instance. Called on any thread."""


class _Held:
    """A host call that has blocked the event loop since ``since``."""

    __slots__ = ("call", "interrupted", "logged", "since")

    def __init__(self, call: HostCall, since: float) -> None:
        self.call = call
        self.since = since
        self.logged = False
        #: The time of the last interruption.
        self.interrupted = -math.inf


class Watchdog:
    """Watches the host calls of the instances in ``watched``, which maps their contexts to workers.

    A call is interrupted if a request of its instance is past its deadline. A call longer than ``stall_limit`` seconds
    (None: no limit) is logged once, with its Python stack, and interrupted if ``interrupt_stalls`` is set. ``stalls``
    counts the logged calls, and ``interruptions`` the interrupted ones.

    Call ``start`` and ``stop`` on the event loop's thread, ``start`` from trio.
    """

    def __init__(self, component: LinkedComponent, stall_limit: float | None, interrupt_stalls: bool) -> None:
        self.watched: MutableMapping[Any, Watched] = {}
        self.stalls = 0
        #: The latest logged stalls, for the admin page.
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
        #: Held to change the following two: the ticker's thread may look until after the stop.
        self._lock = threading.Lock()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._clock = trio.lowlevel.current_clock()
        self._engine.interrupter.attach()
        self._engine.ticker.watchers += (self._look,)

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        ticker = self._engine.ticker
        ticker.watchers = tuple(watch for watch in ticker.watchers if watch != self._look)
        with self._lock:
            self._stopping = True
            thread, self._thread = self._thread, None
        self._alarm.set()
        if thread is not None:
            thread.join()
        self._engine.interrupter.detach()

    @property
    def now(self) -> float:
        """The current time of the handler's event loop. Safe to use on any thread."""
        return 0.0 if self._clock is None else self._clock.current_time()

    @property
    def stalled(self) -> bool:
        """Whether a logged call still blocks the event loop. For use on another thread."""
        held = self._held
        return held is not None and held.logged and self._engine.host_call is held.call

    def _look(self) -> None:
        """Look at the current host call. The ticker's thread calls this at each tick."""
        call = self._engine.host_call
        if call is not self._seen:
            self._seen = call
            self._since = time.monotonic()
        elif call is not None and (self._held is None or self._held.call is not call):
            self._held = _Held(call, self._since)
            self._alarm.set()
            with self._lock:
                if self._thread is None and not self._stopping:
                    # Few handlers ever need the thread, and a server may have many handlers.
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
        """Handle a blocking call. Return the seconds until the next check, or None if the call is over."""
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
                held, instance, requests, self._stack(), "has blocked the event loop for %.1f s" % (now - held.since)
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
            self._log(held, instance, requests, stack, f"blocks the event loop {why} and is interrupted")

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
            "instance %s of %s: the host function %s %s, with these active requests: %s\n%s",
            instance.name,
            self._component.name,
            name,
            what,
            named(requests),
            Lines(stack),
            extra={"about": {"instance": instance.name, "request": named(requests)}},
        )

    def _stack(self) -> str:
        """Return the stack of the event loop's thread from the host function on, as a traceback."""
        frame = sys._current_frames().get(self._engine.interrupter.thread)
        frames: list[tuple[FrameType, int]] = []
        for caller, line in traceback.walk_stack(frame):
            if frames and caller.f_code.co_filename.startswith(_RUNTIME):
                break
            frames.append((caller, line))
        summary = traceback.StackSummary.extract(iter(reversed(frames)))
        return "Stack of the stalled thread (most recent call last):\n" + "".join(summary.format()).rstrip()
