"""Epoch ticks: what makes a busy guest give way.

A thread advances the engine's epoch while guests run, and sleeps while none does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import uniform
from time import monotonic
from typing import Any

#: seconds between two ticks, unless many guests compute: one that does gives way at the next tick
TICK = 0.010


class Ticker:
    """Advances an engine's epoch every ``period`` seconds as long as guests are being run.

    ``ticks`` counts the ticks so far, and ``ticked`` the seconds that were between them. Whoever is about to run a
    guest bumps ``runs`` and calls ``wake`` if ``asleep`` is set: the thread goes to sleep once it has seen a whole tick
    without a run.
    """

    def __init__(self, increment_epoch: Callable[[], Any]) -> None:
        self.ticks = 0
        self.ticked = 0.0
        self.period = TICK
        self.runs = 0
        self.running = False
        self.asleep = True
        #: called by the thread at each tick; they must not raise and take next to no time
        self.watchers: tuple[Callable[[], None], ...] = ()
        #: called by the thread every ``beats`` seconds or so; where it says so guests look at the epoch, besides ticks
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
        """Let so much time go by, as guests see it."""
        self.ticked += seconds
        self.ticks += 1
        self._increment_epoch()

    def _run(self) -> None:
        seen = -1
        while not self._rest(period := self.period):
            if self.runs == seen and not self.running:
                # Clear first, look again after: a run (or the end) that comes in between either is seen here
                # or sees `asleep` and sets the event.
                self._awake.clear()
                self.asleep = True
                if self.runs == seen and not self.running and not self._stop.is_set():
                    self._awake.wait()
                self.asleep = False
            seen = self.runs
            self.tick(period)
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        # Not in the loop above, whose variables would keep the last one while the thread sleeps.
        for watch in self.watchers:
            watch()

    def _rest(self, period: float) -> bool:
        """Wait until the next tick; true if there is to be none."""
        beat = self.beat
        if beat is None:
            return self._stop.wait(period)
        now = monotonic()
        tick = now + period
        if now - self._next_beat > self.beats:  # the thread has slept: what begins to run then is not always sampled
            self._next_beat = now + self.beats * uniform(0.0, 1.0)
        while now < tick:
            if now >= self._next_beat:
                if beat():
                    self._increment_epoch()
                # Not in step with anything that guests do, ticks included.
                self._next_beat = now + self.beats * uniform(0.5, 1.5)
            if self._stop.wait(max(0.0, min(tick, self._next_beat) - now)):
                return True
            now = monotonic()
        return self._stop.is_set()
