"""test:all/types@1.2.3, as a component exports it.

Types of every kind.
"""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from builtins import bytes as _bytes
from builtins import int as _int
from builtins import list as _list
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from wasi_trio.bindings import (
    Case,
    Err,
    ExportedResource,
    Instance,
    InterfaceClient,
    Ok,
    PlainCase,
    Some,
    TypedInterface,
)

from .._wit import WIT


class Point(NamedTuple):
    """A point."""

    #: across
    x: int
    y: int


BoolIsh: TypeAlias = bool


class Odd(NamedTuple):
    """Its "quotes", a back\\slash and \"\"\"three\"\"\"."""

    count: _int  # type: ignore[assignment]
    index: _list[str]  # type: ignore[assignment]
    list: _bytes
    bytes: _bytes
    int: _int | None
    from_: str
    type: BoolIsh


class Color(StrEnum):
    """The enum ``color``."""

    RED = "red"
    DARK_GREEN = "dark-green"


class Permissions(StrEnum):
    """The names of the flags ``permissions``."""

    READ = "read"
    WRITE = "write"
    TO_URL = "to-URL"


class Shape_Dot(PlainCase):
    """The case ``dot`` of ``shape``."""

    __slots__ = ()
    wit_case = "dot"


class Shape_Circle(Case[int]):
    """The case ``circle`` of ``shape``."""

    __slots__ = ()
    wit_case = "circle"


class Shape_Line(Case[tuple[Point, Point]]):
    """The case ``line`` of ``shape``."""

    __slots__ = ()
    wit_case = "line"


class Shape_Many(Case[list[Color]]):
    """The case ``many`` of ``shape``."""

    __slots__ = ()
    wit_case = "many"


Shape: TypeAlias = Shape_Dot | Shape_Circle | Shape_Line | Shape_Many


Points: TypeAlias = list[Point]


Blob: TypeAlias = bytes


MaybeMaybe: TypeAlias = Some | None


class Node(ExportedResource):
    """The resource ``node``, which the component implements."""

    __slots__ = ()

    async def children(self) -> list[Node]:
        return await self._call("[method]node.children", self)

    async def adopt(self, child: Node) -> Ok[None] | Err[Color]:
        return await self._call("[method]node.adopt", self, child)

    async def is_same(self, other: Node) -> bool:
        return await self._call("[method]node.is-same", self, other)

    async def rep_(self) -> int:
        return await self._call("[method]node.rep", self)


class Fallible(ExportedResource):
    """The resource ``fallible``, which the component implements."""

    __slots__ = ()


class Bare(ExportedResource):
    """The resource ``bare``, which the component implements."""

    __slots__ = ()


INTERFACE = TypedInterface(
    "test:all/types@1.2.3",
    WIT,
    {
        "point": Point,
        "odd": Odd,
        "color": Color,
        "permissions": Permissions,
        "shape": Shape,
        "node": Node,
        "fallible": Fallible,
        "bare": Bare,
    },
)


class NodeClass(InterfaceClient):
    """The constructor and the static functions of ``node``."""

    async def __call__(self, label: str) -> Node:
        return await self._call("[constructor]node", label)

    async def make_tree(self, labels: Sequence[str]) -> Node:
        return await self._call("[static]node.make-tree", labels)


class FallibleClass(InterfaceClient):
    """The constructor and the static functions of ``fallible``."""

    async def __call__(self, x: int) -> Ok[Fallible] | Err[str]:
        return await self._call("[constructor]fallible", x)


class TypesClient(InterfaceClient):
    """Types of every kind."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.Node = NodeClass(instance)
        self.Fallible = FallibleClass(instance)

    async def list(self) -> _list[str]:
        return await self._call("list")

    async def get_point(self, p: Point, o: Odd) -> Point:
        return await self._call("get-point", p, o)

    async def shapes(
        self,
        s: Sequence[Shape],
        by: Color,
        how: AbstractSet[Permissions],
    ) -> Ok[_list[Shape]] | Err[Shape]:
        return await self._call("shapes", s, by, how)

    async def both(
        self,
        a: Sequence[Point],
        b: bytes | bytearray | memoryview,
        c: MaybeMaybe,
        d: tuple[int, float, str],
    ) -> Ok[Points] | Err[Blob] | None:
        return await self._call("both", a, b, c, d)

    async def give_bare(self) -> Bare:
        return await self._call("give-bare")

    async def fixed(self, a: bytes | bytearray | memoryview, b: Sequence[Point]) -> _list[int]:
        return await self._call("fixed", a, b)

    async def class_(self, self_: int, result: int, list: int) -> _list[int]:
        return await self._call("class", self_, result, list)


Node.INTERFACE = INTERFACE
Fallible.INTERFACE = INTERFACE
Bare.INTERFACE = INTERFACE
NodeClass.INTERFACE = INTERFACE
FallibleClass.INTERFACE = INTERFACE
TypesClient.INTERFACE = INTERFACE
