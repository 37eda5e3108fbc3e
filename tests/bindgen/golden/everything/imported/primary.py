"""primary, as a host provides it.

Types of every kind.
"""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from builtins import bytes as _bytes
from builtins import int as _int
from builtins import list as _list
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

from wasi_trio.bindings import Case, Err, Ok, PlainCase, Returns, Some, TypedInterface

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


#: a host object for ``node``
AnyNode: TypeAlias = Any


class NodeResource(Protocol):
    """The resource ``node``, which the host implements."""

    def children(self, /) -> Returns[Sequence[NodeResource]]: ...

    def adopt(self, child: AnyNode, /) -> Returns[Ok[None] | Err[Color]]: ...

    def is_same(self, other: AnyNode, /) -> Returns[bool]: ...

    def rep(self, /) -> Returns[int]: ...


class NodeClass(Protocol):
    """The class of ``node``: its constructor and its static functions."""

    def __call__(self, label: str, /) -> NodeResource: ...

    def make_tree(self, labels: list[str], /) -> Returns[NodeResource]: ...


#: a host object for ``fallible``
AnyFallible: TypeAlias = Any


class FallibleClass(Protocol):
    """The class of ``fallible``: its constructor and its static functions."""

    def __call__(self, x: int, /) -> AnyFallible: ...


#: a host object for ``bare``
AnyBare: TypeAlias = Any


class Primary(Protocol):
    """Types of every kind."""

    def list(self, /) -> Returns[Sequence[str]]: ...

    def get_point(self, p: Point, o: Odd, /) -> Returns[Point]: ...

    def shapes(
        self,
        s: _list[Shape],
        by: Color,
        how: frozenset[Permissions],
        /,
    ) -> Returns[Ok[Sequence[Shape]] | Err[Shape]]: ...

    def both(
        self,
        a: Points,
        b: Blob,
        c: MaybeMaybe,
        d: tuple[int, float, str],
        /,
    ) -> Returns[Ok[Sequence[Point]] | Err[bytes | bytearray | memoryview] | None]: ...

    def give_bare(self, /) -> Returns[AnyBare]: ...

    def fixed(self, a: bytes, b: _list[Point], /) -> Returns[Sequence[int]]: ...

    def class_(self, self_: int, result: int, list: int, /) -> Returns[Sequence[int]]: ...

    @property
    def Node(self) -> NodeClass: ...

    @property
    def Fallible(self) -> FallibleClass: ...


INTERFACE = TypedInterface(
    "primary",
    WIT,
    {
        "point": Point,
        "odd": Odd,
        "color": Color,
        "permissions": Permissions,
        "shape": Shape,
    },
    [],
    "bindings:world/imported-primary",
)
