"""The Python representation of component values.

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

``wasi_trio bindgen`` generates subclasses of these for the types of an interface: a named tuple for each record, a
``Case`` for each case of a variant, and a ``StrEnum`` for each enum and for the names of flags.

Field and parameter names change from kebab-case to snake_case, with an underscore appended to Python keywords.
"""

from __future__ import annotations

import functools
import keyword
from collections import namedtuple
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from wasi_trio.component._types import ResourceType

T_co = TypeVar("T_co", covariant=True)


class Ok(Generic[T_co]):
    """The success case of a ``result``."""

    __slots__ = ("value",)
    __match_args__ = ("value",)

    def __init__(self, value: T_co = None) -> None:  # type: ignore[assignment]
        self.value = value

    def __repr__(self) -> str:
        return f"Ok({self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ok) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Ok, self.value))


class Err(Exception, Generic[T_co]):
    """The error case of a ``result``. A host function may return it or raise it."""

    __match_args__ = ("value",)

    def __init__(self, value: T_co = None) -> None:  # type: ignore[assignment]
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
    """One case of a ``variant``: the case's name in WIT, and its payload or None."""

    case: str
    value: Any = None


if TYPE_CHECKING:
    # Type checkers have their own rules for subclasses of named tuples in patterns.
    class Case(Generic[T_co]):
        """The base of a generated class for one case of a variant, with a payload of type ``T_co``."""

        __match_args__ = ("value",)
        wit_case: ClassVar[str]

        def __init__(self, value: T_co) -> None: ...

        @property
        def case(self) -> str: ...

        @property
        def value(self) -> T_co: ...

    class PlainCase(Case[None]):
        """The base of a generated class for one case of a variant that has no payload."""

        def __init__(self) -> None: ...

else:

    class Case(Variant):
        """The base of a generated class for one case of a variant, with a payload."""

        __slots__ = ()
        __match_args__ = ("value",)
        #: The case's name in WIT.
        wit_case: ClassVar[str]

        def __new__(cls, value):
            return tuple.__new__(cls, (cls.wit_case, value))

        def __class_getitem__(cls, item):
            return cls

        def __repr__(self):
            return f"{type(self).__name__}({self[1]!r})"

        def __reduce__(self):
            return type(self), (self[1],)

    class PlainCase(Case):
        """The base of a generated class for one case of a variant that has no payload."""

        __slots__ = ()

        def __new__(cls):
            return tuple.__new__(cls, (cls.wit_case, None))

        def __repr__(self):
            return f"{type(self).__name__}()"

        def __reduce__(self):
            return type(self), ()


class GuestResource:
    """A resource that a guest implements, as seen by the host and other guests.

    ``rep`` is the representation for its implementer. It becomes None when the resource is passed on as an ``own``;
    this object cannot be used after that. Objects compare by identity.
    """

    __slots__ = ("rep", "resource")

    def __init__(self, resource: ResourceType, rep: int | None) -> None:
        self.resource = resource
        self.rep = rep

    def __repr__(self) -> str:
        return f"<{self.resource.name} {'transferred' if self.rep is None else self.rep}>"


def snake_case(name: str) -> str:
    """Return the Python name of a kebab-case WIT name: ``get_https`` for ``get-https``, ``from_`` for ``from``."""
    snake = name.replace("-", "_")
    return snake + "_" if keyword.iskeyword(snake) else snake


def pascal_case(name: str) -> str:
    """Return the Python class name of a kebab-case WIT name: ``InputStream`` for ``input-stream``."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("-"))


@functools.lru_cache(maxsize=4096)
def record_class(names: tuple[str, ...]) -> type[tuple[Any, ...]]:
    """Return the named tuple for a record with these WIT field names. Equal names yield the same class."""
    return namedtuple("Record", [snake_case(name) for name in names], rename=True)
