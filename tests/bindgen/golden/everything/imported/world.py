"""The functions and resources of the world itself, as a host provides it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from wasi_trio.bindings import Returns, TypedInterface

from .._wit import WIT
from .test_all_types import INTERFACE as _test_all_types
from .test_all_types import Point


class Pair(NamedTuple):
    """A type of the world."""

    a: Point
    b: Point


#: a host object for ``thing``
AnyThing: TypeAlias = Any


class ThingResource(Protocol):
    """The resource ``thing``, which the host implements."""

    def get(self, /) -> Returns[int]: ...


class ThingClass(Protocol):
    """The class of ``thing``: its constructor and its static functions."""

    def __call__(self, /) -> ThingResource: ...


class World(Protocol):
    """The host functions of the world itself."""

    def log(self, line: str, /) -> Returns[None]:
        """Logs a line."""
        ...

    @property
    def Thing(self) -> ThingClass: ...


INTERFACE = TypedInterface(
    "",
    WIT,
    {
        "pair": Pair,
    },
    [
        _test_all_types,
    ],
    "bindings:world/world-itself",
)
