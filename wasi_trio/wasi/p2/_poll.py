"""wasi:io/poll 0.2: waits for the first of many pollables.

A guest may pass as many pollables as it has handles. So the host examines them in slices of time, and starts and ends
the tasks that wait for them in groups. Other work of the event loop runs in between. Sockets of the system need no
tasks, because Linux waits for any number of them with one descriptor.
"""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TypeAlias

import trio

from wasi_trio.component._account import Account, Charge
from wasi_trio.component._errors import Trap
from wasi_trio.runtime._run_queue import run_queue
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.p2._io import Pollable

#: Linux's means of waiting for many descriptors with one, or None
epoll = getattr(select, "epoll", None)
#: maximum number of tasks that start or end in one turn of the event loop
GROUP = 32
#: seconds in which the host examines pollables without a turn of the event loop
SLICE = 0.002
#: bytes counted for each task that waits for a pollable
TASK = 4096

#: inside Poll, the name Pollable means the attribute of the class
_Event: TypeAlias = Pollable


class Poll:
    """The interface wasi:io/poll."""

    Pollable = Pollable

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    async def poll(self, in_: Sequence[_Event]) -> list[int]:
        """Wait until a pollable is ready, and return the indices of all ready ones.

        Not a checkpoint if one is ready and the list is short. Raises Trap for an empty list, and OverBudget if the
        tasks that wait exceed the instance's memory.
        """
        if not in_:
            raise Trap("poll of an empty list would never return")
        if len(in_) > GROUP:
            return await _poll_many(in_, _Pause(self._context))
        while True:
            ready = [index for index, pollable in enumerate(in_) if pollable.ready()]
            if ready:
                return ready
            waits = _Waits()
            waits.add(in_)
            with trio.CancelScope(deadline=waits.deadline), waits.joined() as joined:
                await _wait_for_first(joined)


async def _poll_many(pollables: Sequence[Pollable], pause: _Pause) -> list[int]:
    """Do the same as ``poll`` with pauses."""
    groups = range(0, len(pollables), GROUP)
    while True:
        ready: list[int] = []
        for start in groups:
            group = pollables[start : start + GROUP]
            ready += [index for index, pollable in enumerate(group, start) if pollable.ready()]
            await pause.if_due()
        if ready:
            return ready
        waits = _Waits()
        for start in groups:
            waits.add(pollables[start : start + GROUP])
            await pause.if_due()
        with trio.CancelScope(deadline=waits.deadline), waits.joined() as joined:
            if len(joined) > GROUP:
                await _wait_for_first_of_many(joined, pause)
            else:
                await _wait_for_first(joined)


class _Waits:
    """The necessary waits for a list of pollables. ``deadline`` is the earliest of those that depend on time."""

    __slots__ = ("_events", "_of_descriptors", "_others", "deadline")

    def __init__(self) -> None:
        self.deadline = math.inf
        #: pollables that wait for descriptors only, by their sources, and the events of each descriptor
        self._of_descriptors: dict[object, Pollable] = {}
        self._events: dict[int, int] = {}
        self._others: dict[object, Pollable] = {}

    def add(self, pollables: Sequence[Pollable]) -> None:
        for pollable in pollables:
            if pollable.deadline is not None:
                self.deadline = min(self.deadline, pollable.deadline)
            elif epoll is None or (interest := pollable.interest) is None:
                self._others[pollable.source] = pollable
            else:
                descriptor, event = interest
                self._of_descriptors[pollable.source] = pollable
                self._events[descriptor] = self._events.get(descriptor, 0) | event

    @contextmanager
    def joined(self) -> Iterator[list[Pollable]]:
        """Return the pollables to wait for. One replaces those that wait for descriptors, if a descriptor is left."""
        joint: _Descriptor | None = None
        if len(self._of_descriptors) > 1:
            with suppress(OSError):  # without a descriptor, tasks wait
                joint = _Descriptor(self._events, next(iter(self._of_descriptors.values())).account)
        if joint is None:
            yield [*self._of_descriptors.values(), *self._others.values()]
            return
        try:
            yield [joint, *self._others.values()]
        finally:
            joint.close()


class _Descriptor(Pollable):
    """A pollable that is ready when one of many descriptors is. It is an epoll object.

    It does not notice that a descriptor is closed. The guest itself would have to close it while it polls.
    """

    __slots__ = ("_epoll",)

    def __init__(self, events: Mapping[int, int], account: Account | None) -> None:
        """Open a descriptor. Raises OSError."""
        assert epoll is not None
        if account is not None:
            self.bill(account)
        GUESTS.reserve()
        try:
            self._epoll = epoll()
            try:
                for descriptor, event in events.items():
                    self._epoll.register(descriptor, event)
            except BaseException:
                self._epoll.close()
                raise
        except BaseException:
            GUESTS.release()
            raise

    def close(self) -> None:
        self._epoll.close()
        GUESTS.release()

    def ready(self) -> bool:
        return bool(self._epoll.poll(0))

    async def block(self) -> None:
        await trio.lowlevel.wait_readable(self._epoll.fileno())


class _Pause:
    """Gives other work of the event loop a turn during long work for one instance."""

    __slots__ = ("_component", "_slice_ends")

    def __init__(self, context: WasiContext) -> None:
        # All instances of a component have the same options.
        self._component = id(context.options)
        self._slice_ends = perf_counter() + SLICE

    async def if_due(self) -> None:
        """Pause if the slice of time has passed."""
        if perf_counter() > self._slice_ends:
            await self.take()

    async def take(self) -> None:
        """Pause until a turn of the event loop that is not already long."""
        await trio.lowlevel.checkpoint()
        queue = run_queue()
        if perf_counter() > queue.turn_ends:
            await queue.begin(self._component)
        self._slice_ends = perf_counter() + SLICE


async def _wait_for_first(pollables: Sequence[Pollable]) -> None:
    """Wait until one of at most ``GROUP`` pollables may be ready."""
    if not pollables:
        await trio.sleep_forever()
    elif len(pollables) == 1:
        await pollables[0].block()
    else:
        charge = _charge(pollables)
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            for pollable in pollables:
                nursery.start_soon(_wait, pollable, nursery.cancel_scope.cancel, failures)
        del charge
        if failures:
            raise failures[0]


async def _wait_for_first_of_many(pollables: Sequence[Pollable], pause: _Pause) -> None:
    """Do the same for more pollables, with pauses.

    The groups of tasks are shielded, because a cancellation would otherwise end all tasks in one turn.
    """
    charge = _charge(pollables)
    failures: list[Exception] = []
    woken = trio.Event()
    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        try:
            for start in range(0, len(pollables), GROUP):
                scope = trio.CancelScope(shield=True)
                scopes.append(scope)
                nursery.start_soon(_wait_in_group, scope, pollables[start : start + GROUP], woken, failures)
                await pause.take()
                if woken.is_set():
                    break
            await woken.wait()
        finally:
            with trio.CancelScope(shield=True):
                for scope in scopes:
                    scope.cancel()
                    await pause.take()
    del charge
    if failures:
        raise failures[0]


async def _wait_in_group(
    scope: trio.CancelScope, pollables: Sequence[Pollable], woken: trio.Event, failures: list[Exception]
) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            for pollable in pollables:
                nursery.start_soon(_wait, pollable, woken.set, failures)


async def _wait(pollable: Pollable, wake: Callable[[], None], failures: list[Exception]) -> None:
    try:
        await pollable.block()
    except Exception as error:  # the caller raises it: a bare exception, not a group, ends the guest's call
        failures.append(error)
    wake()


def _charge(pollables: Sequence[Pollable]) -> Charge | None:
    """Count the tasks that wait for these pollables in their guest's memory. Raises OverBudget."""
    account = pollables[0].account
    return None if account is None else Charge(account, TASK * len(pollables))
