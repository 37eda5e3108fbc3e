"""acme:math/math@1.0.0, as a component exports it.

Arithmetic on points and signs.
"""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from wasi_trio.bindings import Case, Err, ExportedResource, Instance, InterfaceClient, Ok, PlainCase, TypedInterface

from .._wit import WIT


class Point(NamedTuple):
    """A point in the plane."""

    #: to the right
    x: int
    y: int


class Sign(StrEnum):
    """The enum ``sign``."""

    NEGATIVE = "negative"
    ZERO = "zero"
    POSITIVE = "positive"


class Axes(StrEnum):
    """The names of the flags ``axes``."""

    X = "x"
    Y = "y"


class Figure_Nothing(PlainCase):
    """The case ``nothing`` of ``figure``."""

    __slots__ = ()
    wit_case = "nothing"


class Figure_Circle(Case[int]):
    """A circle around the origin."""

    __slots__ = ()
    wit_case = "circle"


class Figure_Segment(Case[tuple[Point, Point]]):
    """The case ``segment`` of ``figure``."""

    __slots__ = ()
    wit_case = "segment"


Figure: TypeAlias = Figure_Nothing | Figure_Circle | Figure_Segment


class Counter(ExportedResource):
    """Counts up."""

    __slots__ = ()

    async def next(self) -> int:
        return await self._call("[method]counter.next", self)


INTERFACE = TypedInterface(
    "acme:math/math@1.0.0",
    WIT,
    {
        "point": Point,
        "sign": Sign,
        "axes": Axes,
        "figure": Figure,
        "counter": Counter,
    },
)


class CounterClass(InterfaceClient):
    """The constructor and the static functions of ``counter``."""

    async def __call__(self, start: int) -> Counter:
        return await self._call("[constructor]counter", start)

    async def live(self) -> int:
        """The number of counters."""
        return await self._call("[static]counter.live")


class MathClient(InterfaceClient):
    """Arithmetic on points and signs."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.Counter = CounterClass(instance)

    async def add(self, a: int, b: int) -> int:
        """The sum of two numbers."""
        return await self._call("add", a, b)

    async def mirror(self, p: Point) -> Point:
        return await self._call("mirror", p)

    async def points(self, count: int) -> list[Point]:
        return await self._call("points", count)

    async def same(self, f: Figure, s: Sign, a: AbstractSet[Axes]) -> tuple[Figure, Sign, frozenset[Axes]]:
        return await self._call("same", f, s, a)

    async def halve(self, n: int) -> Ok[int] | Err[Sign]:
        return await self._call("halve", n)


Counter.INTERFACE = INTERFACE
CounterClass.INTERFACE = INTERFACE
MathClient.INTERFACE = INTERFACE
