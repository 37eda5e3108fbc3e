"""The world of a component as a WIT syntax tree.

A few imports and exports of components have no equivalent in WIT: an instance inside an instance, a module, a type that
is exported at the root. They become notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wasi_trio.component import _definitions as d
from wasi_trio.component._errors import Unsupported
from wasi_trio.component._names import FunctionKind, is_label, parse_function_name, parse_import_name
from wasi_trio.component._resolve import Scope
from wasi_trio.component._sorts import Sort
from wasi_trio.component.wit._lexer import Source
from wasi_trio.component.wit._outline import Func, Instance, Named, Plain, Resource, Type, outline
from wasi_trio.component.wit._tree import (
    Extern,
    FunctionNode,
    InterfaceNode,
    Name,
    NamedType,
    PackageNode,
    Path,
    TypeBody,
    TypeForm,
    TypeNode,
    Use,
    WorldNode,
)

#: Maximum number of parts of types written for one component. Types within types can multiply them exponentially.
MAX_PARTS = 100_000

PACKAGE = "root:component"
WORLD = "root"

_Exports = Mapping[str, tuple[Sort, Any]]


@dataclass(slots=True)
class Described:
    """``packages`` has the world's own first, then those of the interfaces. ``notes`` lists the omitted items."""

    packages: list[PackageNode]
    notes: list[str]


class _Home(NamedTuple):
    """An interface from which a type can be used, and the type's name there."""

    interface: Path
    name: str


def describe(component: d.Component) -> Described:
    """Return the world of a valid component and its interfaces, as declared by the component.

    Tools remove unused items from imports, so an interface may be incomplete. Raises Unsupported beyond MAX_PARTS.
    """
    found = outline(component)
    return _Describer().world(found.imports.exports, found.exports.exports)


def _name(text: str) -> Name:
    return Name(text, 0)


def _path(name: str) -> Path | None:
    """Return an interface's name as a path, or None for any other name."""
    full_name, version = parse_import_name(name)
    package, slash, interface = full_name.rpartition("/")
    return Path(package, interface, version, 0) if slash and is_label(interface) else None


def _types(side: _Exports) -> _Exports:
    return {
        name: (sort, item)
        for name, (sort, item) in side.items()
        if sort is Sort.TYPE or (sort is Sort.FUNC and not is_label(name))
    }


class _Describer:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.parts = 0
        #: The types that other interfaces can use.
        self.homes: dict[Named, _Home] = {}
        #: The type of each resource in the first interface that has the resource.
        self.defined_as: dict[Resource, Named] = {}

    def count(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise Unsupported(f"the types of the component have more than {MAX_PARTS} parts")

    def world(self, imports: _Exports, exports: _Exports) -> Described:
        world = WorldNode(_name(WORLD), InterfaceNode(_name(WORLD)))
        interfaces: dict[Path, list[_Exports]] = {}
        for side in (imports, exports):
            for name, (sort, item) in side.items():
                path = _path(name) if sort is Sort.INSTANCE else None
                if path is not None:
                    interfaces.setdefault(path, []).append(item.exports)
                    self.find_homes(path, item)
        own = _Interface(self, world.own, "the world", None)
        self.own_types(own, imports, exports)
        world.imports = [
            found for name, (sort, item) in imports.items() for found in self.extern(own, name, sort, item)
        ]
        world.exports = [
            found for name, (sort, item) in exports.items() for found in self.extern(own, name, sort, item)
        ]
        return Described(self.packages(world, interfaces), self.notes)

    def find_homes(self, path: Path, instance: Instance) -> None:
        for name, (_, item) in instance.exports.items():
            if isinstance(item, Named):
                self.homes.setdefault(item, _Home(path, name))
                if isinstance(item.origin, Resource):
                    self.defined_as.setdefault(item.origin, item)

    def own_types(self, own: _Interface, imports: _Exports, exports: _Exports) -> None:
        """Add the world's own types and their functions. In WIT, all of them are imports."""
        self.notes += [f"the type {name} is exported" for name, (sort, _) in exports.items() if sort is Sort.TYPE]
        own.fill([_types(imports), _types(exports)])

    def extern(self, own: _Interface, name: str, sort: Sort, item: Any) -> Iterable[Extern]:
        """Yield the world items for an import or export that is not a type."""
        if sort is Sort.FUNC and is_label(name):
            yield own.function(name, item)
        elif sort is Sort.INSTANCE and (path := _path(name)) is not None:
            yield path
        elif sort is Sort.INSTANCE and is_label(name):
            interface = InterfaceNode(_name(name))
            _Interface(self, interface, name, None).fill([item.exports])
            yield interface
        elif sort not in (Sort.FUNC, Sort.TYPE):
            self.notes.append(f"left out: {name} ({sort.value})")

    def packages(self, world: WorldNode, interfaces: dict[Path, list[_Exports]]) -> list[PackageNode]:
        root = PackageNode(Source(PACKAGE, ""), _name(PACKAGE))
        root.worlds.append(world)
        blocks: dict[tuple[str | None, str | None], PackageNode] = {}
        for path, exports in interfaces.items():
            assert path.package is not None
            key = (path.package, path.version)
            if key not in blocks:
                blocks[key] = PackageNode(Source(path.package, ""), _name(path.package), path.version, is_file=False)
            interface = InterfaceNode(_name(path.name))
            _Interface(self, interface, f"{path.package}/{path.name}", path).fill(exports)
            blocks[key].interfaces.append(interface)
        return [root, *blocks.values()]


@dataclass(slots=True)
class _Interface:
    """An interface under construction. ``path`` is None for the world and for an interface under a plain name."""

    describer: _Describer
    node: InterfaceNode
    title: str
    path: Path | None
    #: The names of types in this interface.
    names: dict[Type, str] = field(default_factory=dict)
    #: All names in lower case. WIT has one namespace for types and functions.
    taken: set[str] = field(default_factory=set)
    #: The last number appended to each name that was taken.
    numbers: dict[str, int] = field(default_factory=dict)
    #: The resources that this interface defines.
    own_resources: set[str] = field(default_factory=set)
    #: The meaning of each known name.
    known: dict[str, object] = field(default_factory=dict)
    uses: dict[Path, list[tuple[Name, Name]]] = field(default_factory=dict)
    used_as: dict[_Home, str] = field(default_factory=dict)

    def fill(self, sides: list[_Exports]) -> None:
        """Add the content of an interface. For one that is imported and exported, this merges both sides."""
        for exports in sides:
            for name, (_, item) in exports.items():
                self.taken.add(name.lower())
                if isinstance(item, Named):
                    self.names[item] = name
                    self.names.setdefault(item.origin, name)
        for exports in sides:
            for name, (sort, item) in exports.items():
                self.describer.count()
                if isinstance(item, Named):
                    self.type(name, item)
                elif sort is Sort.FUNC:
                    self.resource_or_free_function(name, item)
                else:
                    self.note(f"contains {name} ({sort.value})")
        self.node.uses += [Use(path, tuple(names)) for path, names in self.uses.items()]

    def note(self, what: str) -> None:
        self.describer.notes.append(f"left out: {self.title} {what}")

    def new(self, name: str, meaning: object) -> bool:
        """Return whether a name is new. Add a note if a known name has another meaning."""
        if name not in self.known:
            self.known[name] = meaning
            return True
        if self.known[name] != meaning:
            self.note(f"exports another {name} than it imports")
        return False

    # ---- definitions -------------------------------------------------------------------------------------

    def type(self, name: str, named: Named) -> None:
        target = named.target
        while isinstance(target, Named):
            self.describer.count()
            if target in self.names:
                return self.alias(name, self.names[target])
            home = self.describer.homes.get(target)
            if home is not None:
                return self.use(home, name)
            target = target.target
        if isinstance(target, Plain):
            return self.define(name, self.definition(target))
        first = self.describer.defined_as.get(target)
        if self.names[target] != name:
            return self.alias(name, self.names[target])
        if first is not None and first not in self.names:
            return self.use(self.describer.homes[first], name)
        return self.define(name, None)

    def define(self, name: str, node: TypeNode | None) -> None:
        if self.new(name, ("type", node)):
            self.node.types.append((_name(name), node))
            if node is None:
                self.own_resources.add(name)

    def alias(self, name: str, other: str) -> None:
        if name != other:
            self.define(name, NamedType(other, 0))

    def use(self, home: _Home, name: str) -> None:
        if self.new(name, home):
            self.used_as.setdefault(home, name)
            path = home.interface
            if self.path is not None and (path.package, path.version) == (self.path.package, self.path.version):
                path = Path(None, path.name, None, 0)
            self.uses.setdefault(path, []).append((_name(home.name), _name(name)))

    def resource_or_free_function(self, name: str, func: Func) -> None:
        function = self.function(name, func)
        if function.resource is not None and function.resource not in self.own_resources:
            self.note(f"has the function {name} of another interface's resource")
        elif self.new(name, function):
            self.node.functions.append(function)

    def function(self, name: str, func: Func) -> FunctionNode:
        kind, resource, plain = parse_function_name(name)
        definition = func.definition
        params = tuple((_name(param), self.reference(of, func.scope)) for param, of in definition.params)
        result = None if definition.result is None else self.reference(definition.result, func.scope)
        if kind is FunctionKind.METHOD:
            params = params[1:]
        if kind is FunctionKind.CONSTRUCTOR and isinstance(result, NamedType):
            result = None
        return FunctionNode(kind, resource, _name(plain), params, result, definition.is_async)

    # ---- types -------------------------------------------------------------------------------------------

    def definition(self, plain: Plain) -> TypeNode:
        """Return the node for a type's definition."""
        scope = plain.scope
        match plain.definition:
            case d.RecordDef(fields):
                return TypeBody("record", tuple((_name(name), self.reference(of, scope)) for name, of in fields), 0)
            case d.VariantDef(cases):
                return TypeBody("variant", tuple((_name(name), self.maybe(of, scope)) for name, of in cases), 0)
            case d.EnumDef(names):
                return TypeBody("enum", tuple((_name(name), None) for name in names), 0)
            case d.FlagsDef(names):
                return TypeBody("flags", tuple((_name(name), None) for name in names), 0)
            case d.OwnDef(resource):
                return TypeForm("own", (self.reference(d.TypeIndex(resource), scope),), 0)
            case _:
                return self.form(plain, plain)

    def form(self, plain: Plain, item: Type) -> TypeNode:
        """Return the node for a type without a name in this interface. ``item`` may have a name elsewhere."""
        scope = plain.scope
        match plain.definition:
            case d.PrimitiveDef(name):
                return TypeForm(name, (), 0)
            case d.ListDef(element, length):
                return TypeForm("list", (self.reference(element, scope),), 0, length)
            case d.TupleDef(types):
                return TypeForm("tuple", tuple(self.reference(of, scope) for of in types), 0)
            case d.OptionDef(of):
                return TypeForm("option", (self.reference(of, scope),), 0)
            case d.ResultDef(ok, err):
                return TypeForm("result", (self.maybe(ok, scope), self.maybe(err, scope)), 0)
            case d.MapDef(key, value):
                return TypeForm("map", (self.reference(key, scope), self.reference(value, scope)), 0)
            case d.OwnDef(resource):
                return self.reference(d.TypeIndex(resource), scope)
            case d.BorrowDef(resource):
                return TypeForm("borrow", (self.reference(d.TypeIndex(resource), scope),), 0)
            case d.StreamDef(maybe):
                return TypeForm("stream", (self.maybe(maybe, scope),), 0)
            case d.FutureDef(maybe):
                return TypeForm("future", (self.maybe(maybe, scope),), 0)
            case _:
                return self.named_here(item, plain)

    def maybe(self, reference: d.ValTypeRef | None, scope: Scope) -> TypeNode | None:
        return None if reference is None else self.reference(reference, scope)

    def reference(self, reference: d.ValTypeRef, scope: Scope) -> TypeNode:
        self.describer.count()
        if isinstance(reference, str):
            return TypeForm(reference, (), 0)
        item: Type = scope.get(Sort.TYPE, reference.index)
        found = item
        while isinstance(found, Named):
            self.describer.count()
            if found in self.names:
                return NamedType(self.names[found], 0)
            home = self.describer.homes.get(found)
            if home is not None:
                return self.used(found, home)
            found = found.target
        if found in self.names:
            return NamedType(self.names[found], 0)
        if isinstance(found, Plain):
            return self.form(found, item)
        first = self.describer.defined_as.get(found)
        if first is not None:
            return self.used(first, self.describer.homes[first])
        return self.named_here(item, found)

    def used(self, type_: Named, home: _Home) -> NamedType:
        """Return a reference to another interface's type, which first gets the name here that WIT requires."""
        name = self.used_as.get(home)
        if name is None:
            name = self.free_name(home.name)
            self.use(home, name)
        self.names[type_] = name
        return NamedType(name, 0)

    def named_here(self, item: Type, type_: Plain | Resource) -> NamedType:
        """Define a type again, because its name is in no interface that could be used. Return a reference to it."""
        wanted = item.name if isinstance(item, Named) else "unnamed"
        name = self.free_name(wanted)
        self.names[item] = self.names[type_] = name
        self.describer.notes.append(f"the type {name} in {self.title} equals the type of that name elsewhere")
        self.define(name, None if isinstance(type_, Resource) else self.definition(type_))
        return NamedType(name, 0)

    def free_name(self, wanted: str) -> str:
        name, number = wanted, self.numbers.get(wanted, 1)
        while name.lower() in self.taken:
            number += 1
            name = f"{wanted}-{number}"
        self.numbers[wanted] = number
        self.taken.add(name.lower())
        return name
