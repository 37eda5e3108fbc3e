"""The order in which guests run if they cannot all run at once. It keeps each turn of the event loop short.

Guests run when the event loop reaches their tasks, like all other work. Two kinds of guests wait here first:

* A guest that was pre-empted at a tick, so it computes. All such guests share one slot. Between two uses of the slot,
  the loop turns several times, so that all other ready work (sockets, healthy requests) proceeds.
* A guest that has just become able to run, in a turn that is already long, or behind others that wait for the same
  reason. These run before guests that compute. In each turn, as many run as fit into a short turn. After one of them
  is pre-empted, the others wait for another turn, because each could compute for a tick.

In both lines the components alternate, so that many guests of one component do not delay the few of another.

Each event loop has one queue, because all its guests share the loop, whatever their engines and handlers.
"""

from __future__ import annotations

from collections import OrderedDict
from time import perf_counter
from typing import Any

import trio

from wasi_trio.runtime._ticker import TICK, Ticker

#: Turns of the loop between two guests that compute, because answering a request takes several.
TURNS = 8
#: Seconds after which no further guest begins to run in a turn of the loop, while some guest computes.
LONG_TURN = TICK / 2
#: The same while no guest computes. Waiting here costs a tenth of a small request.
CALM_TURN = 4 * TICK
#: Maximum number of guests that have just become able to run and continue in one turn.
MAX_FRESH = 64
#: The same while other guests compute.
MAX_FRESH_WHILE_BUSY = 2
#: Seconds between two ticks while several guests compute.
SHORT_TICK = TICK / 5
#: Seconds of processor time after which a guest counts as CPU-bound. A single pre-emption may be chance.
CPU_BOUND = TICK
#: Number of waiting pre-empted guests that makes ticks short. Two guests known to be CPU-bound do so too.
MANY_PRE_EMPTED = 8
#: Seconds for which ticks stay short after that.
SHORT_TICK_SECONDS = 1.0


class Line:
    """Waiting tasks, in order for each component. The components alternate."""

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
        """Remove and return the first task of the component whose turn it is."""
        component, lane = next(iter(self._lanes.items()))
        task, _ = lane.popitem(last=False)
        if lane:
            self._lanes.move_to_end(component)
        else:
            del self._lanes[component]
        return task


class RunQueue(trio.abc.Instrument):
    """Decides which guest runs next on one event loop. It is an instrument of the loop, which tells it of turns.

    A task that is about to run a guest first waits in ``begin`` if ``perf_counter() > turn_ends``. A task whose guest
    was pre-empted waits in ``go_on``.
    """

    def __init__(self) -> None:
        #: The time (``perf_counter``) at which the current turn becomes long.
        self.turn_ends = perf_counter() + CALM_TURN
        #: The time until which guests count as computing, because one was pre-empted recently.
        self._alert_until = 0.0
        #: The start of the turn, its maximum length, and the length of the previous turn.
        self._turn_began = perf_counter()
        self._long_turn = CALM_TURN
        self._turn_length = 0.0
        #: Whether a guest was pre-empted in this turn, and in the previous one. It may have computed for a tick.
        self._spent = self._was_spent = False
        #: Number of ``_fresh`` tasks released per turn. It doubles after short turns and drops to a quarter after long
        #: ones.
        self._share = 1
        self._fresh = Line()
        self._computing = Line()
        #: The number of waiting tasks whose guests were pre-empted.
        self._pre_empted = 0
        self._dispatches = False
        #: The tickers with short ticks because several guests compute, and the time until which they have them.
        self._quick: set[Ticker] = set()
        self._quick_until = 0.0

    def after_io_wait(self, timeout: float) -> None:
        now = perf_counter()
        self._turn_length = now - self._turn_began
        self._turn_began = now
        self._was_spent, self._spent = self._spent, False
        if now > self._alert_until:
            self._long_turn = CALM_TURN
            self.turn_ends = now + CALM_TURN
        else:
            self._long_turn = LONG_TURN
            self.turn_ends = 0.0 if self._fresh else now + LONG_TURN  # no task overtakes the waiting ones

    def has(self, component: Any, task: trio.lowlevel.Task) -> bool:
        """Return whether a task waits to run a guest. May be called on any thread."""
        return self._computing.has(component, task) or self._fresh.has(component, task)

    async def begin(self, component: Any) -> None:
        """Wait for a later turn in which a guest that has just become able to run may run."""
        await self._wait(self._fresh, component)
        if self._spent or perf_counter() > self._turn_began + self._long_turn:
            # Other tasks released in the same turn took long. After one more wait, this one continues in any case,
            # unless another guest has computed for a tick.
            await self._wait(self._fresh, component, first=True)
            while self._spent:
                await self._wait(self._fresh, component, first=True)

    async def go_on(self, component: Any, ticker: Ticker, computed: float) -> None:
        """Wait until a pre-empted guest may continue.

        ``computed`` is the processor time in seconds that it has used since it was first pre-empted.
        """
        self.turn_ends = 0.0  # no further guest in this turn
        self._spent = True
        known = computed >= CPU_BOUND
        if known or self._pre_empted >= MANY_PRE_EMPTED:  # fewer pre-emptions may be chance
            self._alert_until = perf_counter() + SHORT_TICK_SECONDS
        if self._pre_empted >= MANY_PRE_EMPTED or (known and self._computing):
            self._quick_until = perf_counter() + SHORT_TICK_SECONDS
            if ticker not in self._quick:
                self._quick.add(ticker)
                ticker.period = SHORT_TICK
        self._pre_empted += 1
        try:
            if known:
                await self._wait(self._computing, component)
            else:
                await self.begin(component)
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
        """Run the tasks in the lines until none remains."""
        fresh, computing = self._fresh, self._computing
        self._share = 1
        waits = False
        try:
            while True:
                for _ in range(TURNS):
                    await trio.lowlevel.checkpoint()
                    if waits:
                        # The next turn shows how long the turn of the released tasks is, and which of them are back.
                        waits = False
                    elif fresh:
                        waits = True
                        self._release()
                    elif not computing:
                        return
                if computing:
                    waits = True
                    trio.lowlevel.reschedule(computing.pop())
                if self._quick and perf_counter() > self._quick_until:
                    self._slow_down()
        finally:
            self._slow_down()
            self._dispatches = False

    def _release(self) -> None:
        """Release some of the tasks that have just become able to run."""
        if self._was_spent or self._turn_length > self._long_turn:
            self._share = max(1, self._share // 4)
        elif self._computing:
            self._share = min(self._share, MAX_FRESH_WHILE_BUSY)  # these guests may be CPU-bound too
        elif self._share < MAX_FRESH:
            self._share *= 2
        for _ in range(self._share):
            trio.lowlevel.reschedule(self._fresh.pop())
            if not self._fresh:
                self._share = 1  # later tasks may be different
                break

    def _slow_down(self) -> None:
        for ticker in self._quick:
            ticker.period = TICK
        self._quick.clear()


_QUEUE: trio.lowlevel.RunVar[RunQueue] = trio.lowlevel.RunVar("wasi_trio run queue")


def run_queue() -> RunQueue:
    """Return the queue of the current event loop."""
    try:
        return _QUEUE.get()
    except LookupError:
        queue = RunQueue()
        trio.lowlevel.add_instrument(queue)
        _QUEUE.set(queue)
        return queue
