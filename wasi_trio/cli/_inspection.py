"""The inspection of a component for ``wasi_trio inspect``, without compiling its code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from wasi_trio.component import _definitions as d
from wasi_trio.component._binary import decode
from wasi_trio.component._binding import Unmet, bind
from wasi_trio.component._errors import ComponentError, LinkError
from wasi_trio.component._imports import Imports
from wasi_trio.component._names import compatible, parse_import_name
from wasi_trio.component._plan import Plan
from wasi_trio.component._planning import plan
from wasi_trio.component._sizes import Sizes, measure
from wasi_trio.component.wit._text import write
from wasi_trio.component.wit._world import describe
from wasi_trio.wasi import p2, p3, proposals
from wasi_trio.wasi._imports import EVERY_STATE, state_imports, wasi_imports
from wasi_trio.wasi._loading import DEFAULT, EngineOptions, check_is_component, load_error, read_component
from wasi_trio.wasi.http._messages import Request
from wasi_trio.wasi.p3._http import handler_interface
from wasi_trio.wasi.wit import host_wit

HANDLER = "wasi:http/handler"

#: The statuses of an import: provided by this host, ...
MET = "met"
#: ... by the next component that `serve` is given, ...
NEXT = "next"
#: ... or by these options.
CONFIG = "config"
KEYVALUE = "keyvalue"
MISSING = "missing"
MISMATCHED = "mismatched"
#: The status of the other imports if no host can provide one of them.
UNKNOWN = "unknown"


class TargetWorld(NamedTuple):
    """A world that the component targets, and the command that runs such components."""

    command: str
    world: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """An import. ``details`` has a line for each function or resource that is missing or has another type."""

    name: str
    functions: tuple[str, ...]
    status: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection. ``problems`` has a line for each problem besides the imports."""

    path: str
    targets: tuple[TargetWorld, ...]
    imports: tuple[ImportReport, ...]
    exports: tuple[str, ...]
    sizes: Sizes
    problems: tuple[str, ...]
    #: The whole world as WIT, and the world without the interfaces of WASI.
    wit: str
    own_wit: str


def inspect_component(path: str, options: EngineOptions = DEFAULT) -> Inspection:
    """Inspect a component's file. Raise LoadError for a file that is not a component.

    This validates the structure of the component, but not the code of its core modules.
    """
    data = read_component(path, options.compile_limits)
    check_is_component(data, path)
    try:
        component = decode(data)
        with options.open() as engine:
            engine.validate(data)
        return _inspect(path, component, measure(data))
    except ComponentError as error:
        raise load_error(path, error) from None


def _inspect(path: str, component: d.Component, sizes: Sizes) -> Inspection:
    described = describe(component)
    own = [package for package in described.packages if package.name is None or _is_own(package.name.text)]
    imports = [item for item in component.definitions if isinstance(item, d.Import)]
    exports = tuple(item.name for item in component.definitions if isinstance(item, d.Export))
    targets: list[TargetWorld] = []
    problems: list[str] = []
    try:
        planned = plan(component)
    except LinkError as error:
        problems.append(str(error))
        reports = [
            ImportReport(item.name, (), MISSING if error.missing[0].startswith(f"{item.name} (") else UNKNOWN)
            for item in imports
        ]
    else:
        reports = list(_reports(imports, planned))
        for found in _targets(planned):
            if isinstance(found, TargetWorld):
                targets.append(found)
            else:
                problems.append(found)
    return Inspection(
        path,
        tuple(targets),
        tuple(reports),
        exports,
        sizes,
        tuple(problems),
        write(described.packages, described.notes),
        write(own, described.notes),
    )


def _is_own(package: str) -> bool:
    return not package.startswith("wasi:")


# ---- imports ---------------------------------------------------------------------------------------------


def _provided() -> Imports:
    """Return all imports that the host can provide, with all options and a next component."""
    imports = wasi_imports()
    imports.update(state_imports(EVERY_STATE))
    imports.add(f"{HANDLER}@{p3.VERSION}", handler_interface(_unanswered))
    return imports


async def _unanswered(request: Request) -> NoReturn:
    raise AssertionError("inspection does not run the component")


def _reports(imports: list[d.Import], planned: Plan) -> Iterator[ImportReport]:
    binding = bind(planned, _provided(), host_wit())
    names = {item.name for item in imports}
    functions: dict[str, list[str]] = {}
    for func in planned.host_funcs:
        functions.setdefault(func.interface or func.name, []).append(func.name)
    missing = _by_import(binding.missing, names)
    mismatched = _by_import(binding.mismatched, names)
    for item in imports:
        status = MET
        details: tuple[str, ...] = ()
        if item.name in missing:
            status, details = MISSING, tuple(unmet.name for unmet in missing[item.name])
        elif item.name in mismatched:
            status = MISMATCHED
            details = tuple(f"{unmet.name}: {unmet.difference}" for unmet in mismatched[item.name])
        elif parse_import_name(planned.interface_of(item.name))[0] == HANDLER:
            status = NEXT
        elif planned.interface_of(item.name) in proposals.CONFIG.places:
            status = CONFIG
        elif planned.interface_of(item.name) in proposals.KEYVALUE.places:
            status = KEYVALUE
        yield ImportReport(item.name, tuple(functions.get(item.name, ())), status, details)


def _by_import(found: list[Unmet], names: set[str]) -> dict[str, list[Unmet]]:
    """Group unmet functions and resources by their import. They may be in an instance nested in the import."""
    grouped: dict[str, list[Unmet]] = {}
    for unmet in found:
        name = unmet.interface or unmet.name
        # The name of a nested instance has the names of both, with a slash between them.
        while name not in names:
            name, slash, _ = name.rpartition("/")
            assert slash, "each belongs to an import"
        grouped.setdefault(name, []).append(unmet)
    return grouped


# ---- commands --------------------------------------------------------------------------------------------

_COMMANDS = (
    ("serve", "wasi:http/incoming-handler", "handle", p2.VERSION, "wasi:http/proxy"),
    ("serve", HANDLER, "handle", p3.VERSION, "wasi:http/service"),
    ("run", "wasi:cli/run", "run", p2.VERSION, "wasi:cli/command"),
    ("run", "wasi:cli/run", "run", p3.VERSION, "wasi:cli/command"),
)


def _targets(planned: Plan) -> Iterator[TargetWorld | str]:
    """Yield the commands for a component, or the reason against one that it seems to be made for."""
    resources = {resource: (interface, resource.name) for interface, resource in planned.resources}
    in_front = any(parse_import_name(planned.interface_of(name))[0] == HANDLER for name in planned.imports)
    for command, interface, function, provided, world in _COMMANDS:
        for name in planned.exports:
            exported, version = parse_import_name(name)
            if exported != interface or version is None or not compatible(version, provided):
                continue
            lifted = planned.find_export(name, function)
            if lifted is None:
                yield f"{name} is exported without the function {function}"
            elif difference := host_wit().check(name, function, lifted.type, resources):
                yield f"{name} {function} is exported with another type than WASI's: {difference}"
            elif in_front and exported == HANDLER:
                yield TargetWorld(command, f"wasi:http/middleware@{version}")
            else:
                yield TargetWorld(command, f"{world}@{version}")
