"""Guest code on a stack of its own, and the trio task's way of driving it.

The rule that everything here obeys: no Python frame may be on a fiber when it suspends. A host callback only ever
leaves a ``Pending`` behind and returns; it is the driver, below the fiber, that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, thread_time
from typing import Any

import trio

from wasi_trio.component._values import Err
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._host_calls import leave, wait_for
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.runtime._store import Func, Store

#: is told of the processor time, in seconds, that a call has used, given its task in WASI 0.3; may raise Trap
Meter = Callable[[Any, float], None]


class Fiber:
    """A stack on which a store's functions are called, one after the other.

    ``future`` is wasmtime's for the call under way, None while there is none. A fiber that is given up in the middle of
    a call has to be dropped before its store is closed.
    """

    __slots__ = ("_func", "future", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.future: int | None = None
        self._func: Func | None = None

    @uninterrupted
    def begin(self, func: Func, arguments: Sequence[int]) -> None:
        """Begin a call of a core function, given the bits of its arguments; ``poll`` runs it."""
        store = self.store
        slots = func.arguments
        slot = 1
        for argument in arguments:
            slots[slot] = argument
            slot += 4
        self._func = func
        self.future = ffi.func_call_async(
            store.context_pointer,
            func.func,
            slots,
            func.count,
            func.results,
            func.returns,
            store.trap_out,
            store.error_out,
        )

    @uninterrupted
    def poll(self) -> bool:
        """Run the guest until the call is done (true) or suspended; the store has what for, and how it ended."""
        store = self.store
        engine = store.engine
        caller = engine.host_call
        if caller is not None:
            leave(engine)
        ticker = engine.ticker
        ticker.runs += 1
        outer, nested, running = engine.current, engine.nested, ticker.running
        engine.current, engine.nested, ticker.running = store, False, True
        if ticker.asleep:
            ticker.wake()
        store.poll_tick = ticker.ticks
        try:
            done = bool(ffi.call_future_poll(self.future))
            if store.measured_tick != ticker.ticks:
                store.measure()
            return done
        finally:
            engine.host_call = caller
            engine.current, engine.nested, ticker.running = outer, nested, running

    def resume(self) -> bool:
        """``poll`` a call that was suspended in a host function, now that the guest can go on."""
        self.store.flag[0] = b"\1"
        return self.poll()

    @uninterrupted
    def drop(self) -> None:
        """Free the future of a call, which unwinds what is left of the guest's stack."""
        if self.future is not None:
            future, self.future = self.future, None
            ffi.call_future_delete(future)

    @uninterrupted
    def results(self) -> list[int]:
        """The bits of the results of the call that is done; raises what ended it otherwise."""
        self.drop()
        store = self.store
        if store.trap or store.error:
            store.raise_failure()
        assert self._func is not None
        return self._func.take_results()


@uninterrupted
async def call(store: Store, func: Func, arguments: Sequence[int]) -> list[int]:
    """Call a core function on a fiber and give its results, as raw bits.

    Raises Trap, or what a host function that the guest called raised. Cancellation unwinds the guest's stack
    and leaves the store dead. Is a checkpoint only if the guest had to wait or computed for long.
    """
    store.check()
    store.entered = True
    try:
        fiber = Fiber(store)
        fiber.begin(func, arguments)
        await _drive(fiber)
    finally:
        store.entered = False
    return func.take_results()


@uninterrupted
async def instantiate(store: Store, start: Callable[[Any, Any], int]) -> None:
    """Run an instantiation to its end; ``start`` makes the future, given where the trap and error go."""
    store.check()
    store.entered = True
    try:
        fiber = Fiber(store)
        fiber.future = start(store.trap_out, store.error_out)
        await _drive(fiber)
    finally:
        store.entered = False


async def _drive(fiber: Fiber) -> None:
    store = fiber.store
    engine, queue, meter = store.engine, store.queue, store.root.meter
    origin = ORIGIN.get()
    computed = 0.0
    try:
        if perf_counter() > queue.turn_ends:
            await queue.begin(store.root.linked)
        done = fiber.poll() if meter is None else metered(fiber, fiber.poll, meter)
        while not done:
            pending = store.pending
            if pending is None:
                await queue.go_on(store.root.linked, engine.ticker, computed)
                before = thread_time()
                done = fiber.poll() if meter is None else metered(fiber, fiber.poll, meter)
                computed += thread_time() - before
            else:
                try:
                    pending.value = await wait_for(pending, engine, origin)
                except Err as error:
                    pending.value = pending.failed(error)
                await trio.lowlevel.checkpoint_if_cancelled()  # it may have ended in spite of that
                if perf_counter() > queue.turn_ends:
                    await queue.begin(store.root.linked)
                computed = 0.0
                done = fiber.resume() if meter is None else metered(fiber, fiber.resume, meter)
    except BaseException:
        store.dead = store.dead or "an earlier call into it did not run to its end"
        raise
    finally:
        fiber.drop()
        store.pending = None
    if store.trap or store.error:
        if engine.orphans:
            await engine.settle_orphans()
        store.raise_failure()


def metered(fiber: Fiber, run: Callable[[], bool], meter: Meter, task: Any = None) -> bool:
    """Run a fiber, and have the processor time that it uses counted, which may be found to be too much."""
    if fiber.store.engine.current is not None:
        return run()  # in a host call of another fiber: it is part of that one's time
    before = thread_time()
    done = run()
    meter(task, thread_time() - before)
    return done
