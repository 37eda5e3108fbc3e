"""Packs resolved WIT into plain data for JSON, which loads in a millisecond.

Types and resources are in one list, each after the types that it consists of. Their indices in the list identify them.
They are created at their first use, because a component imports only a few of the dozens of interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from wasi_trio.component import _types as t
from wasi_trio.component._types import FuncType, ResourceType, ValType
from wasi_trio.component.wit._interfaces import Interface, Package, Wit, World

V = TypeVar("V")

_PRIMITIVES = {
    type_.name: type_
    for type_ in (
        t.BOOL, t.S8, t.U8, t.S16, t.U16, t.S32, t.U32, t.S64, t.U64, t.F32, t.F64, t.CHAR, t.STRING, t.ERROR_CONTEXT,
    )
}  # fmt: skip


def pack(wit: Wit) -> dict[str, Any]:
    """Pack WIT into data for JSON. ``unpack`` is the inverse."""
    packer = _Packer(wit)
    packages = [packer.package(package) for package in wit.packages.values()]
    return {"types": packer.types, "packages": packages}


def unpack(data: Mapping[str, Any]) -> Wit:
    """Unpack WIT."""
    types = _Types(data["types"])
    return Wit([_package(package, types) for package in data["packages"]], types.origins)


class _Packer:
    def __init__(self, wit: Wit) -> None:
        self.types: list[Any] = []
        self._wit = wit
        self._indices: dict[ValType | ResourceType, int] = {}

    def package(self, package: Package) -> dict[str, Any]:
        return {
            "name": package.name,
            "version": package.version,
            "interfaces": {name: self.interface(interface) for name, interface in package.interfaces.items()},
            "worlds": {
                name: [list(world.imports), list(world.exports), list(world.includes)]
                for name, world in package.worlds.items()
            },
        }

    def interface(self, interface: Interface) -> dict[str, Any]:
        return {
            "types": {name: self.index(type_) for name, type_ in interface.types.items()},
            "functions": {name: self.function(function) for name, function in interface.functions.items()},
        }

    def function(self, function: FuncType) -> list[Any]:
        params = [[name, self.index(type_)] for name, type_ in function.params]
        return [params, self.maybe(function.result), int(function.is_async)]

    def maybe(self, type_: ValType | None) -> int | None:
        return None if type_ is None else self.index(type_)

    def index(self, type_: ValType | ResourceType) -> int:
        known = self._indices.get(type_)
        if known is None:
            packed = self.packed(type_)
            known = self._indices[type_] = len(self.types)
            self.types.append(packed)
        return known

    def packed(self, type_: ValType | ResourceType) -> list[Any]:
        match type_:
            case ResourceType():
                return ["resource", *self._wit.origin(type_)]
            case t.Primitive(name):
                return ["primitive", name]
            case t.List(element, length):
                return ["list", self.index(element), length]
            case t.Record(fields):
                return ["record", [[name, self.index(field)] for name, field in fields]]
            case t.Tuple(types):
                return ["tuple", [self.index(one) for one in types]]
            case t.Variant(cases):
                return ["variant", [[name, self.maybe(case)] for name, case in cases]]
            case t.Enum(names):
                return ["enum", list(names)]
            case t.Flags(names):
                return ["flags", list(names)]
            case t.Option(some):
                return ["option", self.index(some)]
            case t.Result(ok, err):
                return ["result", self.maybe(ok), self.maybe(err)]
            case t.Map(key, value):
                return ["map", self.index(key), self.index(value)]
            case t.Own(resource):
                return ["own", self.index(resource)]
            case t.Borrow(resource):
                return ["borrow", self.index(resource)]
            case t.Stream(maybe):
                return ["stream", self.maybe(maybe)]
            case t.Future(maybe):
                return ["future", self.maybe(maybe)]
        raise AssertionError(f"unknown type: {type_}")


class _Types:
    """The types of packed WIT, each created once."""

    def __init__(self, packed: list[Any]) -> None:
        self._packed = packed
        self._made: dict[int, Any] = {}
        #: The interface and the name of each created resource.
        self.origins: dict[ResourceType, tuple[str, str]] = {}

    def at(self, index: int | None) -> Any:
        """Return the type with an index, or None for None."""
        if index is None:
            return None
        made = self._made.get(index)
        if made is None:
            made = self._made[index] = self._make(self._packed[index])
        return made

    def function(self, packed: list[Any]) -> FuncType:
        params, result, is_async = packed
        return FuncType(tuple((name, self.at(index)) for name, index in params), self.at(result), bool(is_async))

    def _make(self, packed: list[Any]) -> ValType | ResourceType:
        match packed:
            case ["resource", interface, name]:
                resource = ResourceType(name)
                self.origins[resource] = interface, name
                return resource
            case ["primitive", name]:
                return _PRIMITIVES[name]
            case ["list", element, length]:
                return t.List(self.at(element), length)
            case ["record", fields]:
                return t.Record(tuple((name, self.at(field)) for name, field in fields))
            case ["tuple", types]:
                return t.Tuple(tuple(map(self.at, types)))
            case ["variant", cases]:
                return t.Variant(tuple((name, self.at(case)) for name, case in cases))
            case ["enum", names]:
                return t.Enum(tuple(names))
            case ["flags", names]:
                return t.Flags(tuple(names))
            case ["option", some]:
                return t.Option(self.at(some))
            case ["result", ok, err]:
                return t.Result(self.at(ok), self.at(err))
            case ["map", key, value]:
                return t.Map(self.at(key), self.at(value))
            case ["own", resource]:
                return t.Own(self.at(resource))
            case ["borrow", resource]:
                return t.Borrow(self.at(resource))
            case ["stream", maybe]:
                return t.Stream(self.at(maybe))
            case ["future", maybe]:
                return t.Future(self.at(maybe))
        raise ValueError(f"not a packed type: {packed!r:.80}")


class _Made(Mapping[str, V]):
    """A mapping that creates its values from packed ones when they are looked up."""

    def __init__(self, packed: Mapping[str, Any], make: Callable[[Any], V]) -> None:
        self._packed = packed
        self._make = make
        self._known: dict[str, V] = {}

    def __getitem__(self, key: str) -> V:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._make(self._packed[key])
        return known

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _package(packed: Mapping[str, Any], types: _Types) -> Package:
    package = Package(packed["name"], packed["version"])
    for name, interface in packed["interfaces"].items():
        package.interfaces[name] = Interface(
            f"{package.name}/{name}",
            package.version,
            _Made(interface["functions"], types.function),
            _Made(interface["types"], types.at),
        )
    for name, (imports, exports, includes) in packed["worlds"].items():
        world = World(f"{package.name}/{name}", package.version, tuple(imports), tuple(exports), tuple(includes))
        package.worlds[name] = world
    return package
