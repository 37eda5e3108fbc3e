"""Names of a package that are imported when they are first asked for.

So a part of ``wasi_trio`` that a program does not use costs it nothing: the runtime takes a good part of a second to
import, and pytest imports the plugin of every package that is installed.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, AnyStr, Generic


def lazily(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package; ``modules`` says where each of its names is."""

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
    """A regular expression that is compiled when it is first used; for those that take milliseconds."""

    match: Callable[..., re.Match[AnyStr] | None]
    fullmatch: Callable[..., re.Match[AnyStr] | None]

    def __init__(self, pattern: AnyStr, flags: int = 0) -> None:
        self._pattern: AnyStr = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._pattern, self._flags)
        self.match, self.fullmatch = compiled.match, compiled.fullmatch
        return getattr(compiled, name)


@dataclass(frozen=True, slots=True)
class Located:
    """Something by its place: its module, and the name that it has there."""

    module: str
    name: str

    def load(self) -> Any:
        """The thing itself; imports its module."""
        return getattr(importlib.import_module(self.module), self.name)


class LocatedMapping(Mapping[str, Any]):
    """A mapping whose values are imported when they are looked up; ``places`` has where they are."""

    def __init__(self, places: Mapping[str, Located]) -> None:
        self.places = places

    def __getitem__(self, key: str) -> Any:
        return self.places[key].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def located(package: str, places: Mapping[str, str]) -> LocatedMapping:
    """A mapping to things of a package, each given by its dotted place in there: ``_module.Name``."""
    split = {key: place.rpartition(".") for key, place in places.items()}
    return LocatedMapping({key: Located(f"{package}.{module}", name) for key, (module, _, name) in split.items()})
