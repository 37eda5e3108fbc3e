"""Interfaces of WIT in the types of the Component Model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wasi_trio.component._names import compatible, parse_import_name
from wasi_trio.component._signatures import mismatch
from wasi_trio.component._types import FuncType, ResourceType, ValType


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface; ``name`` is without ``version``, as in ``wasi:io/streams``.

    ``functions`` has them under the names that binaries use (``[method]input-stream.read``), ``types`` everything
    the interface defines or uses, so a resource's name is in there too, and so is an alias of it.
    """

    name: str
    version: str | None
    functions: Mapping[str, FuncType]
    types: Mapping[str, ValType | ResourceType]


@dataclass(frozen=True, slots=True)
class World:
    """A world by the names of what it imports, exports and includes: ``wasi:io/streams@0.2.12``, or a plain name."""

    name: str
    version: str | None
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    includes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """A package; its interfaces and worlds are under their short names."""

    name: str
    version: str | None
    interfaces: dict[str, Interface] = field(default_factory=dict)
    worlds: dict[str, World] = field(default_factory=dict)


class Wit:
    """Packages of WIT, all names in them resolved."""

    def __init__(self, packages: Iterable[Package], origins: Mapping[ResourceType, tuple[str, str]]) -> None:
        self.packages = {versioned(package.name, package.version): package for package in packages}
        self._origins = origins

    def interface(self, name: str) -> Interface:
        """The interface of this name: ``wasi:io/streams``, or with a version that this one is compatible with.

        Raises KeyError if there is none.
        """
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def _find(self, name: str) -> Interface | None:
        full_name, version = parse_import_name(name)
        package_name, _, short = full_name.rpartition("/")
        for package in self.packages.values():
            if package.name != package_name or short not in package.interfaces:
                continue
            if version is None or compatible(version, package.version):
                return package.interfaces[short]
        return None

    def origin(self, resource: ResourceType) -> tuple[str, str]:
        """The interface that defines a resource of this WIT, without its version, and the name it has there."""
        return self._origins[resource]

    def check(
        self, interface: str, function: str, declared: FuncType, resources: Mapping[ResourceType, tuple[str, str]]
    ) -> str | None:
        """How a function that a component imports differs from the one here: a short line, or None if it does not.

        ``interface`` and ``function`` are the names in the component. ``resources`` says of each resource type that
        it imports from which interface and under which name. Nothing is known of an interface that this WIT does
        not have, so its functions differ in nothing.
        """
        found = self._find(interface)
        if found is None:
            return None
        if function not in found.functions:
            return f"{versioned(found.name, found.version)} has no such function"

        def same(theirs: ResourceType, ours: ResourceType) -> bool:
            source, name = resources.get(theirs, ("", ""))
            home = self._find(source)
            return home is not None and home.types.get(name) is ours

        return mismatch(declared, found.functions[function], same)


def versioned(name: str, version: str | None) -> str:
    return name if version is None else f"{name}@{version}"
