"""Resolved component types: the meaning of the type definitions in a component's binary.

Value types are immutable and compare by structure. Resource types compare by identity, because they are generative:
each instantiation of a component that defines one creates a new type. See "Type Definitions" in the Component Model's
Explainer.

Types with a name in WIT may have the Python classes of their values (``component._typed``). Two types with different
classes are not equal. The types that a component declares have no classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, dataclass_transform

from wasi_trio.component._record import record

T = TypeVar("T")


class _Hashed:
    """Has a slot for the hash of a type, because computing the hash of a large type at each use would take too long."""

    __slots__ = ("_hash",)
    _hash: int


@dataclass_transform(frozen_default=True)
def _structural(class_: type[T]) -> type[T]:
    """Return an immutable record class that compares by structure and computes its hash once.

    Types share parts, so a small graph of them can be an enormous tree. Comparing two types takes time proportional to
    the number of distinct parts.
    """
    made = record(class_)
    work_out = made.__hash__

    def equal(self: Any, other: object) -> bool:
        if self is other:
            return True
        if other.__class__ is not self.__class__:
            return False
        return _alike(self, other)

    def cached(self: Any) -> int:
        try:
            known: int = self._hash
        except AttributeError:
            known = work_out(self)
            object.__setattr__(self, "_hash", known)
        return known

    made.__hash__ = cached  # type: ignore[method-assign]
    made.__eq__ = equal  # type: ignore[method-assign]
    return made


def _alike(one: object, other: object) -> bool:
    # Hashes are not compared, because different resource types of the host may be equal.
    pending = [(one, other)]
    seen: set[tuple[int, int]] = set()
    while pending:
        a, b = pending.pop()
        pair = (id(a), id(b))
        if a is b or pair in seen:
            continue
        seen.add(pair)
        if isinstance(a, _Hashed):
            if a.__class__ is not b.__class__:
                return False
            pending += [(getattr(a, name), getattr(b, name)) for name in a.__match_args__]  # type: ignore[attr-defined]
        elif isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            pending += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


@_structural
class Primitive(_Hashed):
    """``bool``, an integer, a float, ``char``, ``string`` or ``error-context``."""

    name: str


BOOL: Final[Primitive] = Primitive("bool")
S8: Final[Primitive] = Primitive("s8")
U8: Final[Primitive] = Primitive("u8")
S16: Final[Primitive] = Primitive("s16")
U16: Final[Primitive] = Primitive("u16")
S32: Final[Primitive] = Primitive("s32")
U32: Final[Primitive] = Primitive("u32")
S64: Final[Primitive] = Primitive("s64")
U64: Final[Primitive] = Primitive("u64")
F32: Final[Primitive] = Primitive("f32")
F64: Final[Primitive] = Primitive("f64")
CHAR: Final[Primitive] = Primitive("char")
STRING: Final[Primitive] = Primitive("string")
ERROR_CONTEXT: Final[Primitive] = Primitive("error-context")


@_structural
class List(_Hashed):
    element: ValType
    length: int | None = None


@_structural
class Record(_Hashed):
    """``fields`` pairs each WIT name with its type."""

    fields: tuple[tuple[str, ValType], ...]
    python_class: type[Any] | None = None


@_structural
class Tuple(_Hashed):
    types: tuple[ValType, ...]


@_structural
class Variant(_Hashed):
    """``cases`` pairs each WIT name with its payload's type or None. Each case may have a Python class."""

    cases: tuple[tuple[str, ValType | None], ...]
    python_classes: tuple[type[Any], ...] | None = None


@_structural
class Enum(_Hashed):
    names: tuple[str, ...]
    python_class: type[Any] | None = None


@_structural
class Flags(_Hashed):
    names: tuple[str, ...]
    python_class: type[Any] | None = None


@_structural
class Option(_Hashed):
    type: ValType


@_structural
class Result(_Hashed):
    ok: ValType | None
    err: ValType | None


@_structural
class Map(_Hashed):
    key: ValType
    value: ValType


@_structural
class Own(_Hashed):
    """``python_class`` is a subclass of GuestResource, for a resource that a guest implements."""

    resource: ResourceType
    python_class: type[Any] | None = None


@_structural
class Borrow(_Hashed):
    resource: ResourceType


@_structural
class Stream(_Hashed):
    """``typed`` is the element's type with Python classes. The stream itself uses ``element``."""

    element: ValType | None
    typed: ValType | None = None


@_structural
class Future(_Hashed):
    """``typed`` is the element's type with Python classes, as in a stream."""

    element: ValType | None
    typed: ValType | None = None


ValType: TypeAlias = (
    Primitive | List | Record | Tuple | Variant | Enum | Flags | Option | Result | Map | Own | Borrow | Stream | Future
)


@dataclass(eq=False, slots=True)
class ResourceType:
    """A resource type, equal only to itself.

    ``owner`` is the part of the linked plan that implements it, or None for the host. ``python_class`` is the host's
    class, if the host implements the resource and names a class.
    """

    name: str
    owner: int | None = None
    python_class: type[Any] | None = None


@_structural
class FuncType(_Hashed):
    """``params`` pairs each WIT name with its type. ``is_async`` corresponds to WIT's ``async func``."""

    params: tuple[tuple[str, ValType], ...]
    result: ValType | None = None
    is_async: bool = False


def children(type_: ValType) -> tuple[ValType, ...]:
    """Return the types that a value type consists of, one level down."""
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
    """Return whether a type is or contains a type of this kind."""
    # Types share parts, so a small graph of them can be an enormous tree. Each part is visited once.
    found = [] if type_ is None else [type_]
    seen = set(map(id, found))
    while found:
        one = found.pop()
        if isinstance(one, kind):
            return True
        for child in children(one):
            if id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return False


def same_host_resource(one: ValType | None, other: ValType | None) -> bool:
    """Return whether both types are owned handles of the host, for objects of the same Python class.

    Each component has its own type for a resource that it imports. The host does not know that type when it creates a
    stream of such objects, so it creates a type for the stream.
    """
    return (
        isinstance(one, Own)
        and isinstance(other, Own)
        and one.resource.python_class is not None
        and one.resource.python_class is other.resource.python_class
    )
