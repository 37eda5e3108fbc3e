"""The plan of a component: all steps and functions that instantiating it consists of (``component._planning``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wasi_trio.component import _types as t
from wasi_trio.component._names import compatible, parse_import_name
from wasi_trio.component._sorts import Sort, StringEncoding

# ---- core items ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CoreExport:
    """An export of the core instance in ``slot``. Slots are numbered throughout the plan."""

    slot: int
    name: str
    #: follows from the name, and an Enum's hash costs more than all others
    sort: Sort = field(hash=False)


@dataclass(frozen=True, slots=True)
class CanonFunc:
    """A core function of a canonical definition, number ``index`` of ``Plan.canons``."""

    index: int


CoreItem: TypeAlias = CoreExport | CanonFunc


@dataclass(frozen=True, slots=True)
class CoreInstance:
    """A core instance: an instantiated slot, or only a set of named items.

    ``prefix`` precedes the export names of a slot if its module is part of a merged module.
    """

    slot: int | None
    items: dict[str, tuple[Sort, CoreItem]] | None
    prefix: str = ""

    def item(self, name: str, sort: Sort) -> CoreItem:
        if self.items is not None:
            return self.items[name][1]
        assert self.slot is not None
        return CoreExport(self.slot, self.prefix + name, sort)


# ---- functions -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """Resolved canonical options. All definitions of a part with equal options share one object.

    ``memory`` and the functions belong to that part. ``adopts`` means that lifted ends of streams and futures are
    wrapped for Python (``Context.adopt``).
    """

    encoding: StringEncoding
    memory: CoreItem | None
    realloc: CoreItem | None
    post_return: CoreItem | None
    is_async: bool = False
    callback: CoreItem | None = None
    adopts: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """A component function implemented by a core function of ``part``."""

    part: int
    core: CoreItem
    type: t.FuncType
    options: Options


@dataclass(frozen=True, slots=True, eq=False)
class HostFunc:
    """A component function that the host must provide: ``name`` in the import ``interface`` ("" for the root)."""

    interface: str
    name: str
    type: t.FuncType


Func: TypeAlias = Lifted | HostFunc


@dataclass(frozen=True, slots=True, eq=False)
class Lower:
    """A core function for ``part`` that calls a component function."""

    part: int
    func: Func
    options: Options


@dataclass(frozen=True, slots=True, eq=False)
class ResourceBuiltin:
    """A ``resource.new``, ``resource.drop`` or ``resource.rep`` for ``part``."""

    part: int
    name: str
    resource: t.ResourceType


@dataclass(frozen=True, slots=True, eq=False)
class AsyncBuiltin:
    """Any other built-in for ``part``, by its name in the Explainer (``task.return``, ``stream.read``, ...).

    ``type`` is the type of the stream or future, or of the result of ``task.return``. ``options`` has the memory, and
    whether the built-in is ``async``. ``slot`` and ``core_type`` are those of context.get/set.
    """

    part: int
    name: str
    type: t.ValType | None
    options: Options
    slot: int = 0
    core_type: str = "i32"


Canon: TypeAlias = Lower | ResourceBuiltin | AsyncBuiltin


# ---- instances -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A component instance as seen from outside: its exports."""

    exports: dict[str, tuple[Sort, Any]]


@dataclass(frozen=True, slots=True)
class InstantiateModule:
    """A step: instantiate ``module`` in ``part`` as core instance ``slot`` with the import modules ``args``."""

    slot: int
    part: int
    module: int
    args: dict[str, CoreInstance]


@dataclass(slots=True)
class Plan:
    """The steps and definitions that instantiating a component consists of.

    ``imports`` lists the imports that the host must provide. ``exports`` are those of the root instance.
    ``destructors`` maps each resource type that a part implements with a destructor to the core function. ``parents``
    has the instantiating part of each part. ``implements`` maps imports with plain names to their interfaces.
    """

    modules: list[memoryview] = field(default_factory=list)
    steps: list[InstantiateModule] = field(default_factory=list)
    canons: list[Canon] = field(default_factory=list)
    lifted: list[Lifted] = field(default_factory=list)
    host_funcs: list[HostFunc] = field(default_factory=list)
    destructors: dict[t.ResourceType, CoreItem] = field(default_factory=dict)
    resources: list[tuple[str, t.ResourceType]] = field(default_factory=list)
    exports: dict[str, tuple[Sort, Any]] = field(default_factory=dict)
    parents: list[int | None] = field(default_factory=list)
    implements: dict[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        return len(self.parents)

    @property
    def imports(self) -> list[str]:
        """The names of all imported interfaces and root functions, in order."""
        return list(dict.fromkeys(func.interface or func.name for func in self.host_funcs))

    def interface_of(self, name: str) -> str:
        """Return the interface of an import: its own name, or the interface that a plain name implements."""
        return self.implements.get(name, name)

    def find_export(self, name: str, function: str | None = None) -> Lifted | None:
        """Return an exported function, or the function of an exported interface, or None.

        A name without a version matches any exported version of the interface.
        """
        # An exact match needs no search, because a component may export many versions of one interface.
        found = {name: self.exports[name]} if name in self.exports else self.exports
        for exported, (sort, item) in found.items():
            if exported != name and parse_import_name(exported)[0] != name:
                continue
            if sort is Sort.INSTANCE and function is not None:
                item = item.exports.get(function, (None, None))[1]
            if isinstance(item, Lifted):
                return item
        return None

    def find_typed_export(self, interface: str, function: str) -> Lifted | None:
        """Return a function of an export with a compatible version, or None. ``interface`` is "" for the world."""
        if not interface:
            return self.find_export(function)
        name, version = parse_import_name(interface)
        for exported, (sort, item) in self.exports.items():
            other, other_version = parse_import_name(exported)
            if sort is Sort.INSTANCE and other == name and compatible(version, other_version):
                found = item.exports.get(function, (None, None))[1]
                return found if isinstance(found, Lifted) else None
        return None

    def resource_names(self) -> dict[t.ResourceType, tuple[str, str]]:
        """Return the import or export that contains each resource type, and the type's name there."""
        names = {resource: (interface, resource.name) for interface, resource in self.resources}
        for exported, (sort, item) in self.exports.items():
            named = item.exports.items() if sort is Sort.INSTANCE else ()
            for name, (kind, found) in named:
                if kind is Sort.TYPE and isinstance(found, t.ResourceType):
                    names.setdefault(found, (exported, name))
        return names
