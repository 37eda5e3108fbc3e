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


#: an object of the host's that is its ``thing``
AnyThing: TypeAlias = Any


class ThingResource(Protocol):
    """The resource ``thing``: an object that the host makes."""

    def get(self, /) -> Returns[int]: ...


class ThingClass(Protocol):
    """The class of ``thing``: its constructor, and what is called without an object."""

    def __call__(self, /) -> ThingResource: ...


class World(Protocol):
    """What the host implements for the world itself."""

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
