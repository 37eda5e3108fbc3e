"""The order in which guests run that cannot all run at once: what keeps each turn of the event loop short.

Guests run when the event loop comes to their tasks, as any other work does. Three things have to wait here first:

* a guest that was pre-empted at a tick, and so computes: such guests have one slot for all of them, and between two
  uses of it the loop turns several times, so that whatever else is ready (sockets, healthy requests) goes on meanwhile;
* a guest that has just become able to run, in a turn that has been long enough already, or behind others that wait for
  the same reason: these go on before those that compute, in each turn as many as fit into a short one;
* in both lines the components take turns, so that many guests of one do not hold up the few of another.

There is one queue for each event loop, because that is what all its guests share, whatever their engine and handler.
"""

from __future__ import annotations

from collections import OrderedDict
from time import perf_counter
from typing import Any

import trio

from wasi_trio.runtime._ticker import TICK, Ticker

#: turns of the loop between two guests that compute: to answer a request takes several
TURNS = 8
#: seconds after which no further guest begins to run in a turn of the loop, while some compute
LONG_TURN = TICK / 2
#: the same while none does: to wait here costs a tenth of a small request
CALM_TURN = 4 * TICK
#: guests that have just become able to run and go on in one turn, at the most
MOST_FRESH = 64
#: the same while others compute
FEW_FRESH = 2
#: seconds between two ticks while several guests compute
SHORT_TICK = TICK / 5
#: seconds of processor time after which a guest counts as one that computes: to be pre-empted once may be chance
CPU_BOUND = TICK
#: so many guests wait that were pre-empted, or two that are known to compute: then ticks become short
MANY = 8
#: seconds for which they are after that
QUICK = 1.0


class Line:
    """Tasks that wait, in order for each component, whose turns alternate."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Any, OrderedDict[trio.lowlevel.Task, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def has(self, component: Any, task: trio.lowlevel.Task) -> bool:
        return task in self._lanes.get(component, ())

    def add(self, component: Any, task: trio.lowlevel.Task, *, first: bool = False) -> None:
        lane = self._lanes.get(component)
        if lane is None:
            lane = self._lanes[component] = OrderedDict()
        lane[task] = None
        if first:
            lane.move_to_end(task, last=False)

    def remove(self, component: Any, task: trio.lowlevel.Task) -> None:
        lane = self._lanes[component]
        del lane[task]
        if not lane:
            del self._lanes[component]

    def pop(self) -> trio.lowlevel.Task:
        """The first of the component whose turn it is."""
        component, lane = next(iter(self._lanes.items()))
        task, _ = lane.popitem(last=False)
        if lane:
            self._lanes.move_to_end(component)
        else:
            del self._lanes[component]
        return task


class RunQueue(trio.abc.Instrument):
    """Who may run a guest next, on one event loop; see the module. It is the loop's instrument to know its turns.

    Whoever is about to run a guest waits in ``begin`` first if ``perf_counter() > turn_ends``. One that was pre-empted
    waits in ``go_on``.
    """

    def __init__(self) -> None:
        #: when, by ``perf_counter``, the turn that runs has been long enough
        self.turn_ends = perf_counter() + CALM_TURN
        #: until when guests are taken to compute, because one was pre-empted lately
        self._alert_until = 0.0
        #: when the turn began, how long it may take, and how long the one before took
        self._turn_began = perf_counter()
        self._long_turn = CALM_TURN
        self._turn_length = 0.0
        #: how many of ``_fresh`` go on in one turn: twice as many after short turns, a quarter after long ones
        self._share = 1
        self._fresh = Line()
        self._computing = Line()
        #: how many of those that wait were pre-empted
        self._pre_empted = 0
        self._dispatches = False
        #: the tickers that are quick because several guests compute, and until when
        self._quick: set[Ticker] = set()
        self._quick_until = 0.0

    def after_io_wait(self, timeout: float) -> None:
        now = perf_counter()
        self._turn_length = now - self._turn_began
        self._turn_began = now
        if now > self._alert_until:
            self._long_turn = CALM_TURN
            self.turn_ends = now + CALM_TURN
        else:
            self._long_turn = LONG_TURN
            self.turn_ends = 0.0 if self._fresh else now + LONG_TURN  # nobody overtakes those that wait

    def has(self, component: Any, task: trio.lowlevel.Task) -> bool:
        """Whether a task waits to run a guest; may be asked on any thread."""
        return self._computing.has(component, task) or self._fresh.has(component, task)

    async def begin(self, component: Any) -> None:
        """Wait until a guest may run that has just become able to, in a later turn than this."""
        await self._wait(self._fresh, component)
        if perf_counter() > self._turn_began + self._long_turn:
            # Others that were let go on in the same turn took long. The next time it goes on in any case.
            await self._wait(self._fresh, component, first=True)

    async def go_on(self, component: Any, ticker: Ticker, computed: float) -> None:
        """Wait until a guest may go on that was pre-empted.

        ``computed`` are the seconds of processor time that it has used since it was first pre-empted.
        """
        self.turn_ends = 0.0  # no further guest in this turn
        known = computed >= CPU_BOUND
        if known or self._pre_empted >= MANY:  # a few may be chance
            self._alert_until = perf_counter() + QUICK
        if self._pre_empted >= MANY or (known and self._computing):
            self._quick_until = perf_counter() + QUICK
            if ticker not in self._quick:
                self._quick.add(ticker)
                ticker.period = SHORT_TICK
        self._pre_empted += 1
        try:
            await self._wait(self._computing if known else self._fresh, component)
        finally:
            self._pre_empted -= 1

    async def _wait(self, line: Line, component: Any, *, first: bool = False) -> None:
        task = trio.lowlevel.current_task()
        line.add(component, task, first=first)
        if not self._dispatches:
            self._dispatches = True
            trio.lowlevel.spawn_system_task(self._dispatch, name="wasi_trio run queue")

        def leave(_: Any) -> trio.lowlevel.Abort:
            line.remove(component, task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    async def _dispatch(self) -> None:
        """Let those in the lines run, until none is left."""
        fresh, computing = self._fresh, self._computing
        busy = True
        self._share = 1
        waits = False
        try:
            while busy or fresh or computing:
                busy = False
                for _ in range(TURNS):
                    await trio.lowlevel.checkpoint()
                    if waits:
                        waits = False  # how long the turn is in which the last ones run shows only in the next
                    elif fresh:
                        busy = waits = True
                        self._release()
                if computing:
                    busy = True
                    trio.lowlevel.reschedule(computing.pop())
                if self._quick and perf_counter() > self._quick_until:
                    self._slow_down()
        finally:
            self._slow_down()
            self._dispatches = False

    def _release(self) -> None:
        """Let some go on that have just become able to."""
        if self._turn_length > self._long_turn:
            self._share = max(1, self._share // 4)
        elif self._computing:
            self._share = min(self._share, FEW_FRESH)  # they may be of the same kind
        elif self._share < MOST_FRESH:
            self._share *= 2
        for _ in range(self._share):
            trio.lowlevel.reschedule(self._fresh.pop())
            if not self._fresh:
                self._share = 1  # nothing is known of the next that come
                break

    def _slow_down(self) -> None:
        for ticker in self._quick:
            ticker.period = TICK
        self._quick.clear()


_QUEUE: trio.lowlevel.RunVar[RunQueue] = trio.lowlevel.RunVar("wasi_trio run queue")


def run_queue() -> RunQueue:
    """That of the event loop that runs."""
    try:
        return _QUEUE.get()
    except LookupError:
        queue = RunQueue()
        trio.lowlevel.add_instrument(queue)
        _QUEUE.set(queue)
        return queue
