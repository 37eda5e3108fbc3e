"""Running a command, a component that exports wasi:cli/run of WASI 0.2 or 0.3."""

from __future__ import annotations

import trio

from wasi_trio.component.concurrency.tasks import LiftedFunction
from wasi_trio.component.errors import LinkError, Trap
from wasi_trio.component.names import compatible, parse_import_name
from wasi_trio.component.values import Ok
from wasi_trio.runtime.calls import Export
from wasi_trio.runtime.component import LinkedComponent
from wasi_trio.runtime.engine import Limits
from wasi_trio.runtime.instance import Instance
from wasi_trio.wasi import p2, p3
from wasi_trio.wasi.context import WasiContext, WasiOptions
from wasi_trio.wasi.exit import Exit
from wasi_trio.wasi.wit import host_wit

#: a command has its process to itself: all the memory that it can address
LIMITS = Limits(memory=1 << 32)


def find_run(linked: LinkedComponent) -> Export | LiftedFunction:
    """The function that a command exports, that of the later WASI where it has both; LinkError if there is none."""
    exports = linked.component.exports
    for provided in (p3.VERSION, p2.VERSION):
        for name in exports:
            interface, version = parse_import_name(name)
            if interface != "wasi:cli/run" or version is None or not compatible(version, provided):
                continue
            export = linked.find_export(name, "run")
            if export is None:
                raise LinkError(f"{name} is exported without the function run")
            difference = host_wit(p3=True).check(name, "run", export.type, {})
            if difference is not None:
                raise LinkError(f"{name} run is exported with another type than WASI's: {difference}")
            return export
    raise LinkError(
        f"the component exports no wasi:cli/run: it is no command, but exports {', '.join(exports) or 'nothing'}"
    )


async def run(linked: LinkedComponent, export: Export | LiftedFunction, options: WasiOptions) -> int | Trap:
    """Run a command in an instance of its own, and give its exit code, or the trap that it ended in.

    It has ended when its ``run`` has returned: tasks that it left are dropped.
    """
    instance: Instance | None = None
    try:
        async with trio.open_nursery() as nursery:
            context = WasiContext(options, nursery=nursery)
            try:
                instance = await Instance.instantiate(linked, context, LIMITS)
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
