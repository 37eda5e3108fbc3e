"""Runs guest code on a separate stack, driven by a trio task.

All code here obeys one rule: no Python frame may be on a fiber when the fiber suspends. So a host callback that must
wait only stores a ``Pending`` and returns. The driver, which is not on the fiber, waits.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter, thread_time
from typing import Any

import trio

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._host_calls import leave, wait_for
from wasi_trio.runtime._keyboard import uninterrupted
from wasi_trio.runtime._origins import ORIGIN
from wasi_trio.runtime._store import Func, Store, end_of

#: Gets the processor time in seconds that a call has used, and its task in WASI 0.3. May raise Trap.
Meter = Callable[[Any, float], None]

#: The message of the Trap for a call in progress when its instance is closed.
CUT_SHORT = "the instance was closed during the call"


class Fiber:
    """A stack on which a store's functions are called, one after another.

    ``future`` is wasmtime's future of the current call, or None between calls. A fiber that is abandoned during a call
    must be dropped before its store is closed.
    """

    __slots__ = ("_func", "future", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.future: int | None = None
        self._func: Func | None = None

    @uninterrupted
    def begin(self, func: Func, arguments: Sequence[int]) -> None:
        """Begin a call of a core function with the bits of its arguments. ``poll`` runs it."""
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
        """Run the guest until the call ends (True) or is suspended. The store has the reason or the outcome."""
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

    def check(self) -> None:
        """Raise Trap after a wait in which the instance was closed."""
        if self.future is None:
            raise Trap(CUT_SHORT)

    def resume(self) -> bool:
        """``poll`` a call that was suspended in a host function, after the reason for that is gone."""
        self.store.flag[0] = b"\1"
        return self.poll()

    @uninterrupted
    def drop(self) -> None:
        """Free the future of a call, which unwinds the rest of the guest's stack."""
        if self.future is not None:
            future, self.future = self.future, None
            ffi.call_future_delete(future)

    @uninterrupted
    def results(self) -> list[int]:
        """Return the bits of the results of a call that has ended, or raise its failure."""
        self.drop()
        store = self.store
        if store.trap or store.error:
            store.raise_failure()
        assert self._func is not None
        return self._func.take_results()


@uninterrupted
def call(store: Store, func: Func, arguments: Sequence[int]) -> Coroutine[Any, Any, list[int]]:
    """Call a core function on a fiber. The coroutine returns its results as raw bits.

    The caller has entered the store. Raises Trap or any exception of a host function that the guest called.
    Cancellation unwinds the guest's stack, and the store cannot be used afterwards. This is a checkpoint only if the
    guest waits or computes for a long time.
    """
    fiber = Fiber(store)
    fiber.begin(func, arguments)
    return _drive(fiber, func)


@uninterrupted
async def instantiate(store: Store, start: Callable[[Any, Any], int]) -> None:
    """Run an instantiation to its end. ``start`` creates the future from the pointers for the trap and the error."""
    store.enter(None)
    try:
        fiber = Fiber(store)
        fiber.future = start(store.trap_out, store.error_out)
        await _drive(fiber, None)
    finally:
        store.leave()


@uninterrupted
async def _drive(fiber: Fiber, func: Func | None) -> list[int]:
    """Run the fiber's call to its end, and return the results of ``func``, the called function."""
    store = fiber.store
    engine, queue, meter = store.engine, store.queue, store.root.meter
    origin = ORIGIN.get()
    computed = 0.0
    assert store.visit is not None
    store.visit.fiber = fiber
    try:
        if perf_counter() > queue.turn_ends:
            await queue.begin(store.root.linked)
            fiber.check()
        done = fiber.poll() if meter is None else metered(fiber, fiber.poll, meter)
        while not done:
            if store.root.on_suspended is not None:
                store.root.note_suspension()
            pending = store.pending
            if pending is None:
                await queue.go_on(store.root.linked, engine.ticker, computed)
                fiber.check()
                before = thread_time()
                done = fiber.poll() if meter is None else metered(fiber, fiber.poll, meter)
                computed += thread_time() - before
            else:
                try:
                    pending.value = await wait_for(pending, engine, origin)
                except Err as error:
                    pending.value = pending.failed(error)
                await trio.lowlevel.checkpoint_if_cancelled()  # the function may have ended despite a cancellation
                if perf_counter() > queue.turn_ends:
                    await queue.begin(store.root.linked)
                fiber.check()
                computed = 0.0
                store.pending = pending  # a call that entered the store during the wait may have replaced it
                done = fiber.resume() if meter is None else metered(fiber, fiber.resume, meter)
    except BaseException as failure:
        store.dead = store.dead or end_of(failure)
        raise
    finally:
        fiber.drop()
        store.pending = None
    if store.trap or store.error:
        if engine.orphans:
            await engine.settle_orphans()
        store.raise_failure()
    return [] if func is None else func.take_results()


def metered(fiber: Fiber, run: Callable[[], bool], meter: Meter, task: Any = None) -> bool:
    """Run a fiber and charge the processor time that it uses to ``meter``, which may raise Trap."""
    if fiber.store.engine.current is not None:
        return run()  # in a host call of another fiber, which measures this time
    before = thread_time()
    done = run()
    meter(task, thread_time() - before)
    return done
