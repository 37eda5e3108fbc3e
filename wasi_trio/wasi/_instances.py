"""Instances outside the server: each with its tasks, its pump and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from wasi_trio._ungrouped import ungrouped
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Limits
from wasi_trio.runtime._fiber import Meter
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import DEFAULT_OPTIONS, WasiContext, WasiOptions
from wasi_trio.wasi._imports import link_wasi, state_imports
from wasi_trio.wasi._state import opened
from wasi_trio.wasi.http._connections import Connections

_DEFAULT_LIMITS = Limits()


@asynccontextmanager
async def open_instance(
    component: Component | LinkedComponent,
    options: WasiOptions = DEFAULT_OPTIONS,
    *,
    limits: Limits = _DEFAULT_LIMITS,
    meter: Meter | None = None,
) -> AsyncIterator[Instance]:
    """Run an instance of a component of WASI 0.2 or 0.3 for the block: ``async with open_instance(...) as instance``.

    ``await instance.call(...)`` calls its exports. With WASI 0.3 several tasks may call at once, with 0.2 one at a
    time. A component that is not linked is linked with WASI alone, as ``link_wasi`` does. ``meter`` is called with the
    task of WASI 0.3, or None, and the processor time in seconds of each stretch of the guest's work. It may raise Trap.

    **Nursery.** The instance has its own nursery, which host functions find as ``context.nursery``. It also runs the
    guest's tasks of WASI 0.3. If a task in it fails, the block is cancelled, and raises the task's exception.

    **Deadlock.** If all calls of WASI 0.3 wait, and nothing but a further call could let one continue, they trap.

    **Trap.** A trap, or an exception of a host function, is raised by the calls in progress. It does not cancel the
    block. Later calls raise Trap, with the first failure as ``__cause__``. Open another instance to continue.

    **End.** When the block ends, work in progress is cancelled: the guest's tasks, host functions and tasks in the
    nursery. Then the instance is closed, and the host resources that the guest holds get ``on_drop``. An exception of
    the block is raised as it is, without a group. Cancellation of the block does the same. This is a checkpoint at the
    end, and at the start if the guest's start functions wait.

    Raises LinkError for a component that cannot be linked, Trap, and any exception of a host function that the guest
    calls at its start. The component's engine must stay open.
    """
    __tracebackhide__ = True
    if isinstance(component, Component):
        component = link_wasi(component, state_imports(options.state))
    with ungrouped():
        async with opened(options.state, component.engine.budget) as state, trio.open_nursery() as nursery:
            connections = Connections(nursery, options.http.keep_alive)
            context = WasiContext(replace(options, state=state), nursery=nursery, connections=connections)
            instance: Instance | None = None
            try:
                instance = await Instance.instantiate(component, context, limits, meter)
                if instance.pump is not None:
                    nursery.start_soon(instance.pump.run)
                yield instance
            finally:
                if instance is not None:
                    await instance.aclose()
                context.finish()
                nursery.cancel_scope.cancel()
