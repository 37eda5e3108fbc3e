"""What a component exports of WASI, for a host to call."""

from __future__ import annotations

from collections.abc import Sequence

from wasi_trio.component._errors import LinkError
from wasi_trio.component._names import compatible, parse_import_name
from wasi_trio.component.concurrency._lifted import LiftedFunction
from wasi_trio.runtime._calls import Export
from wasi_trio.runtime._component import LinkedComponent
from wasi_trio.wasi.wit import host_wit


def find_exported(
    linked: LinkedComponent, interface: str, function: str, provided: str
) -> Export | LiftedFunction | None:
    """A function of an interface that a component exports in a version compatible to ``provided``; None if it does not.

    Raises LinkError where that has no such function, or one of another type than WASI's.
    """
    for name in linked.component.exports:
        exported, version = parse_import_name(name)
        if exported != interface or version is None or not compatible(version, provided):
            continue
        export = linked.find_export(name, function)
        if export is None:
            raise LinkError(f"{name} is exported without the function {function}")
        resources = {resource: (origin, resource.name) for origin, resource in linked.plan.resources}
        difference = host_wit().check(name, function, export.type, resources)
        if difference is not None:
            raise LinkError(f"{name} {function} is exported with another type than WASI's: {difference}")
        return export
    return None


def other_versions(linked: LinkedComponent, interfaces: Sequence[str]) -> list[str]:
    """Under which names a component exports these interfaces, in whatever version."""
    return [name for name in linked.component.exports if parse_import_name(name)[0] in interfaces]
