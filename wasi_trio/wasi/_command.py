"""Runs a command: a component that exports wasi:cli/run of WASI 0.2 or 0.3."""

from __future__ import annotations

from wasi_trio.component._errors import LinkError, Trap
from wasi_trio.component._values import Ok
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._calls import Export
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.runtime._engine import Limits
from wasi_trio.runtime._fiber import Meter
from wasi_trio.wasi import p2, p3
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi._exit import Exit
from wasi_trio.wasi._exports import find_exported, other_versions
from wasi_trio.wasi._instances import open_instance

#: Exports of components for ``serve``.
HTTP_HANDLERS = ("wasi:http/incoming-handler", "wasi:http/handler")
#: a command has the process to itself, so it may use all memory that it can address
LIMITS = Limits(memory=1 << 32)


def find_run(linked: LinkedComponent) -> Export | LiftedFunction:
    """Return the ``run`` function of a command, in the latest WASI version it exports. Raises LinkError without one."""
    for provided in (p3.VERSION, p2.VERSION):
        export = find_exported(linked, "wasi:cli/run", "run", provided)
        if export is not None:
            return export
    exports = ", ".join(linked.component.exports) or "none"
    served = other_versions(linked, HTTP_HANDLERS)
    hint = "; it is an HTTP component: use `python -m wasi_trio serve`" if served else ""
    raise LinkError(f"the component is not a command: it does not export wasi:cli/run (its exports: {exports}){hint}")


async def run(
    linked: LinkedComponent, export: Export | LiftedFunction, options: WasiOptions, meter: Meter | None = None
) -> int | Trap:
    """Run a command in a new instance, and return its exit code or its trap.

    ``meter`` gets the processor time of each call. The command ends when its ``run`` function returns. Its remaining
    tasks are cancelled.
    """
    try:
        async with open_instance(linked, options, limits=LIMITS, meter=meter) as instance:
            return 0 if isinstance(await instance.call_export(export, ()), Ok) else 1
    except Exit as exit_:
        return exit_.code
    except Trap as trap:
        return trap
