"""Running a command, a component that exports wasi:cli/run of WASI 0.2 or 0.3."""

from __future__ import annotations

from dataclasses import replace

import trio

from wasi_trio.component._errors import LinkError, Trap
from wasi_trio.component._values import Ok
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._calls import Export
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Limits
from wasi_trio.runtime._fiber import Meter
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi import p2, p3
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi._exports import find_exported, other_versions
from wasi_trio.wasi._state import opened
from wasi_trio.wasi.http._connections import Connections

#: what components export that are for ``serve``
HTTP_HANDLERS = ("wasi:http/incoming-handler", "wasi:http/handler")
#: a command has its process to itself: all the memory that it can address
LIMITS = Limits(memory=1 << 32)


def find_run(linked: LinkedComponent) -> Export | LiftedFunction:
    """The function that a command exports, that of the later WASI where it has both; LinkError if there is none."""
    for provided in (p3.VERSION, p2.VERSION):
        export = find_exported(linked, "wasi:cli/run", "run", provided)
        if export is not None:
            return export
    exports = ", ".join(linked.component.exports) or "nothing"
    served = other_versions(linked, HTTP_HANDLERS)
    hint = "; `wasi_trio serve` is for components that answer HTTP requests" if served else ""
    raise LinkError(f"the component exports no wasi:cli/run: it is no command, but exports {exports}{hint}")


async def run(
    linked: LinkedComponent, export: Export | LiftedFunction, options: WasiOptions, meter: Meter | None = None
) -> int | Trap:
    """Run a command in an instance of its own, and give its exit code, or the trap that it ended in.

    ``meter`` is told of the processor time that it uses.
    It has ended when its ``run`` has returned: tasks that it left are dropped.
    """
    instance: Instance | None = None
    context: WasiContext | None = None
    try:
        async with opened(options.state) as state, trio.open_nursery() as nursery:
            connections = Connections(nursery, options.http.keep_alive)
            context = WasiContext(replace(options, state=state), nursery=nursery, connections=connections)
            try:
                instance = await Instance.instantiate(linked, context, LIMITS, meter)
                if instance.pump is not None:
                    nursery.start_soon(instance.pump.run)
                return 0 if isinstance(await instance.call_export(export, ()), Ok) else 1
            except Exit as exit_:
                return exit_.code
            except Trap as trap:
                return trap
            finally:
                nursery.cancel_scope.cancel()
    finally:
        if instance is not None:
            instance.close()
        if context is not None:
            context.finish()
