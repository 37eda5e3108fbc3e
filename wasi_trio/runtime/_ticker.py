"""Epoch ticks, which make a busy guest yield.

A thread advances the engine's epoch while guests run, and sleeps otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import uniform
from time import monotonic
from typing import Any

#: Seconds between two ticks, unless many guests compute. A guest that computes yields at the next tick.
TICK = 0.010


class Ticker:
    """Advances an engine's epoch every ``period`` seconds while guests run.

    ``ticks`` counts the ticks, and ``ticked`` adds up the seconds between them. Code that is about to run a guest must
    increment ``runs``, and call ``wake`` if ``asleep`` is set. The thread goes to sleep after a whole tick without a
    run.
    """

    def __init__(self, increment_epoch: Callable[[], Any]) -> None:
        self.ticks = 0
        self.ticked = 0.0
        self.period = TICK
        self.runs = 0
        self.running = False
        self.asleep = True
        #: Callbacks of the thread for each tick. They must not raise, and must be very short.
        self.watchers: tuple[Callable[[], None], ...] = ()
        #: Called by the thread about every ``beats`` seconds. If it returns True, guests check their epoch.
        self.beat: Callable[[], bool] | None = None
        self.beats = TICK
        self._next_beat = 0.0
        self._increment_epoch = increment_epoch
        self._awake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Start ticking again."""
        self.asleep = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wasi_trio ticker", daemon=True)
            self._thread.start()
        self._awake.set()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._awake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def tick(self, seconds: float) -> None:
        """Advance the guests' time by ``seconds``."""
        self.ticked += seconds
        self.ticks += 1
        self._increment_epoch()

    def _run(self) -> None:
        seen = -1
        while not self._rest(period := self.period):
            if self.runs == seen and not self.running:
                # Clear first and check afterwards. If a run or ``close`` comes in between, either this thread sees it,
                # or it sees `asleep` and sets the event.
                self._awake.clear()
                self.asleep = True
                if self.runs == seen and not self.running and not self._stop.is_set():
                    self._awake.wait()
                self.asleep = False
            seen = self.runs
            self.tick(period)
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        # Separate from the loop above, whose variables would keep the last watcher alive while the thread sleeps.
        for watch in self.watchers:
            watch()

    def _rest(self, period: float) -> bool:
        """Wait until the next tick. Return whether the thread must stop."""
        beat = self.beat
        if beat is None:
            return self._stop.wait(period)
        now = monotonic()
        tick = now + period
        if now - self._next_beat > self.beats:  # after a sleep: a guest that starts then is not always sampled
            self._next_beat = now + self.beats * uniform(0.0, 1.0)
        while now < tick:
            if now >= self._next_beat:
                if beat():
                    self._increment_epoch()
                # A random interval avoids synchronization with guests and ticks.
                self._next_beat = now + self.beats * uniform(0.5, 1.5)
            if self._stop.wait(max(0.0, min(tick, self._next_beat) - now)):
                return True
            now = monotonic()
        return self._stop.is_set()
