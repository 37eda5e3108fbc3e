"""WIT interfaces, with types of the Component Model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from wasi_trio.component._names import compatible, parse_import_name
from wasi_trio.component._signatures import mismatch
from wasi_trio.component._types import FuncType, ResourceType, ValType


class Interface(NamedTuple):
    """An interface. ``name`` excludes ``version``, as in ``wasi:io/streams``.

    ``functions`` has the names that binaries use, such as ``[method]input-stream.read``. ``types`` contains all types
    that the interface defines or uses, including resources and their aliases.
    """

    name: str
    version: str | None
    functions: Mapping[str, FuncType]
    types: Mapping[str, ValType | ResourceType]


class World(NamedTuple):
    """A world: the names of its imports, exports and includes, each ``wasi:io/streams@0.2.12`` or a plain name."""

    name: str
    version: str | None
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    includes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """A package. The keys of ``interfaces`` and ``worlds`` are short names."""

    name: str
    version: str | None
    interfaces: dict[str, Interface] = field(default_factory=dict)
    worlds: dict[str, World] = field(default_factory=dict)


class Wit:
    """Packages of WIT with all names resolved."""

    def __init__(self, packages: Iterable[Package], origins: Mapping[ResourceType, tuple[str, str]]) -> None:
        self.packages = {versioned(package.name, package.version): package for package in packages}
        self._origins = origins

    def interface(self, name: str) -> Interface:
        """Return the interface of this name, such as ``wasi:io/streams``. A version matches compatible versions.

        Raises KeyError if the interface does not exist.
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
        """Return the interface that defines a resource of this WIT, without its version, and the resource's name."""
        return self._origins[resource]

    def check(
        self, interface: str, function: str, declared: FuncType, resources: Mapping[ResourceType, tuple[str, str]]
    ) -> str | None:
        """Return one line on how an imported function differs from the one in this WIT, or None.

        ``interface`` and ``function`` are the names in the component. ``resources`` maps each resource type that the
        component imports to its interface and name. The result is None if this WIT lacks the interface.
        """
        return self.checker(resources)(interface, function, declared)

    def checker(self, resources: Mapping[ResourceType, tuple[str, str]]) -> Callable[[str, str, FuncType], str | None]:
        """Return ``check`` for a component with these resources. It looks up each interface once."""
        find = functools.cache(self._find)

        def same(theirs: ResourceType, ours: ResourceType) -> bool:
            source, name = resources.get(theirs, ("", ""))
            home = find(source)
            return home is not None and home.types.get(name) is ours

        def check(interface: str, function: str, declared: FuncType) -> str | None:
            found = find(interface)
            if found is None:
                return None
            if function not in found.functions:
                return f"{versioned(found.name, found.version)} has no such function"
            return mismatch(declared, found.functions[function], same)

        return check


def versioned(name: str, version: str | None) -> str:
    return name if version is None else f"{name}@{version}"
