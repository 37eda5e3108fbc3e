"""Resolved component types: what the index spaces of a component's binary mean once it is linked.

Value types are immutable and compare by structure, resource types by identity (they are generative: each
instantiation of a component that defines one makes a new type). See "Type Definitions" in the Component
Model's Explainer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Primitive:
    """``bool``, an integer, a float, ``char``, ``string`` or ``error-context``."""

    name: str


BOOL = Primitive("bool")
S8, U8 = Primitive("s8"), Primitive("u8")
S16, U16 = Primitive("s16"), Primitive("u16")
S32, U32 = Primitive("s32"), Primitive("u32")
S64, U64 = Primitive("s64"), Primitive("u64")
F32, F64 = Primitive("f32"), Primitive("f64")
CHAR = Primitive("char")
STRING = Primitive("string")
ERROR_CONTEXT = Primitive("error-context")


@dataclass(frozen=True, slots=True)
class List:
    element: ValType
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """``fields`` pairs each WIT name with its type."""

    fields: tuple[tuple[str, ValType], ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    types: tuple[ValType, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """``cases`` pairs each WIT name with its payload's type, or None."""

    cases: tuple[tuple[str, ValType | None], ...]


@dataclass(frozen=True, slots=True)
class Enum:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flags:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    type: ValType


@dataclass(frozen=True, slots=True)
class Result:
    ok: ValType | None
    err: ValType | None


@dataclass(frozen=True, slots=True)
class Map:
    key: ValType
    value: ValType


@dataclass(frozen=True, slots=True)
class Own:
    resource: ResourceType


@dataclass(frozen=True, slots=True)
class Borrow:
    resource: ResourceType


@dataclass(frozen=True, slots=True)
class Stream:
    element: ValType | None


@dataclass(frozen=True, slots=True)
class Future:
    element: ValType | None


ValType: TypeAlias = (
    Primitive | List | Record | Tuple | Variant | Enum | Flags | Option | Result | Map | Own | Borrow | Stream | Future
)


@dataclass(eq=False, slots=True)
class ResourceType:
    """A resource type, equal only to itself.

    ``owner`` is the index of the component instance (in the linked plan) that implements it, None for the
    host. ``python_class`` is the host's class when the host implements it and has said so.
    """

    name: str
    owner: int | None = None
    python_class: type[Any] | None = None


@dataclass(frozen=True, slots=True)
class FuncType:
    """``params`` pairs each WIT name with its type; ``is_async`` is WIT's ``async func``."""

    params: tuple[tuple[str, ValType], ...]
    result: ValType | None = None
    is_async: bool = field(default=False)


def children(type_: ValType) -> tuple[ValType, ...]:
    """The types a value type is made of, one level down."""
    match type_:
        case List(element) | Option(element):
            return (element,)
        case Stream(maybe) | Future(maybe):
            return () if maybe is None else (maybe,)
        case Record(fields):
            return tuple(t for _, t in fields)
        case Tuple(types):
            return types
        case Variant(cases):
            return tuple(t for _, t in cases if t is not None)
        case Result(ok, err):
            return tuple(t for t in (ok, err) if t is not None)
        case Map(key, value):
            return (key, value)
        case _:
            return ()


def contains(type_: ValType | None, kind: type[Any] | tuple[type[Any], ...]) -> bool:
    """Whether a type is, or has anywhere inside it, a type of this kind."""
    if type_ is None:
        return False
    return isinstance(type_, kind) or any(contains(child, kind) for child in children(type_))
