"""Lazy imports of a package's names.

A program pays only for the parts of ``wasi_trio`` that it uses: importing the runtime takes a good part of a second,
and pytest imports the plugins of all installed packages.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, AnyStr, Generic


def lazily(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` for a package. ``modules`` maps its names to modules."""

    def getattribute(name: str) -> object:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def directory() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return getattribute, directory


class Pattern(Generic[AnyStr]):
    """A regular expression that is compiled at its first use. The compilation may take milliseconds."""

    match: Callable[..., re.Match[AnyStr] | None]
    fullmatch: Callable[..., re.Match[AnyStr] | None]
    search: Callable[..., re.Match[AnyStr] | None]
    finditer: Callable[..., Iterator[re.Match[AnyStr]]]

    def __init__(self, pattern: AnyStr, flags: int = 0) -> None:
        self._pattern: AnyStr = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._pattern, self._flags), name)
        setattr(self, name, value)
        return value


class Located:
    """A reference to an object: its module, and its name in the module."""

    # No dataclass, because pytest imports this module, and the module of dataclasses takes milliseconds.
    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def load(self) -> Any:
        """Import the module, and return the object."""
        return getattr(importlib.import_module(self.module), self.name)


class LocatedMapping(Mapping[str, Any]):
    """A mapping whose values are imported at each lookup. ``places`` are the references."""

    def __init__(self, places: Mapping[str, Located]) -> None:
        self.places = places

    def __getitem__(self, key: str) -> Any:
        return self.places[key].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def located(package: str, places: Mapping[str, str]) -> LocatedMapping:
    """Return a mapping of objects in a package. Each is given by its dotted path in the package: ``_module.Name``."""
    split = {key: place.rpartition(".") for key, place in places.items()}
    return LocatedMapping({key: Located(f"{package}.{module}", name) for key, (module, _, name) in split.items()})
