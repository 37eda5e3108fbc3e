"""A component's exports of WASI interfaces, which the host calls."""

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
    """Return an exported function of an interface whose version is compatible with ``provided``, or None.

    Raises LinkError if the interface lacks the function, or if the type of the function differs from WASI's.
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
    """Return the names under which a component exports these interfaces, in any version."""
    return [name for name in linked.component.exports if parse_import_name(name)[0] in interfaces]
