"""Component values as Python sees them.

| WIT                                | Python                                                              |
|------------------------------------|---------------------------------------------------------------------|
| bool, integers, floats             | bool, int, float                                                    |
| char, string                       | str (a char is a str of length one)                                 |
| list<u8>                           | bytes when lifted; any C-contiguous buffer when lowered             |
| list<T>, list<T, N>                | list when lifted; any sized iterable when lowered                   |
| tuple<...>                         | tuple                                                               |
| record                             | a named tuple when lifted; any object with the fields as attributes |
| variant                            | Variant(case, value)                                                |
| enum                               | str, the case's name as WIT spells it                               |
| flags                              | frozenset of str when lifted; any collection of str when lowered    |
| option<T>                          | None or the value; Some(value) where T is itself an option          |
| result<T, E>                       | Ok(value) or Err(value)                                             |
| map<K, V>                          | dict when lifted; any mapping, or a list of pairs, when lowered     |
| own<R>, borrow<R> of a host's R    | the host's own object                                               |
| own<R>, borrow<R> of a guest's R   | GuestResource                                                       |

Field and parameter names turn from kebab-case to snake_case, with an underscore appended to a Python keyword.
"""

from __future__ import annotations

import functools
import keyword
from collections import namedtuple
from typing import Any, Generic, NamedTuple, TypeVar

from wasi_trio.component._types import ResourceType

T = TypeVar("T")


class Ok(Generic[T]):
    """The good half of a ``result``."""

    __slots__ = ("value",)
    __match_args__ = ("value",)

    def __init__(self, value: T = None) -> None:  # type: ignore[assignment]
        self.value = value

    def __repr__(self) -> str:
        return f"Ok({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ok) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Ok, self.value))


class Err(Exception, Generic[T]):
    """The bad half of a ``result``; a host function may return it or raise it."""

    __match_args__ = ("value",)

    def __init__(self, value: T = None) -> None:  # type: ignore[assignment]
        super().__init__(value)
        self.value = value

    def __repr__(self) -> str:
        return f"Err({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Err) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Err, self.value))


class Some(NamedTuple):
    """A present value of an ``option`` whose payload is itself an ``option``."""

    value: Any


class Variant(NamedTuple):
    """One case of a ``variant``: the case's name as WIT spells it, and its payload or None."""

    case: str
    value: Any = None


class GuestResource:
    """A resource that a guest implements, as the host and other guests hold it.

    ``rep`` is what its implementer knows it by. It turns None when the resource is passed on as an ``own``:
    from then on this object stands for nothing. Compares by identity.
    """

    __slots__ = ("rep", "resource")

    def __init__(self, resource: ResourceType, rep: int | None) -> None:
        self.resource = resource
        self.rep = rep

    def __repr__(self) -> str:
        return f"<{self.resource.name} {'given away' if self.rep is None else self.rep}>"


def snake_case(name: str) -> str:
    """The Python name of a kebab-case WIT name: ``get-https`` is ``get_https``, ``from`` is ``from_``."""
    snake = name.replace("-", "_")
    return snake + "_" if keyword.iskeyword(snake) else snake


def pascal_case(name: str) -> str:
    """The Python class name of a kebab-case WIT name: ``input-stream`` is ``InputStream``."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))


@functools.lru_cache(maxsize=4096)
def record_class(names: tuple[str, ...]) -> type[tuple[Any, ...]]:
    """The named tuple for a record with these WIT field names; the same class for the same names."""
    return namedtuple("Record", [snake_case(name) for name in names], rename=True)
