"""Immutable classes with few fields that are cheap to define.

A frozen dataclass generates and compiles its methods when its module is imported, which takes 0.25 ms for each class.
For the sixty classes of definitions and types that would take longer than running a small command.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, dataclass_transform

T = TypeVar("T")


class Record:
    """The base of classes made by ``record``: immutable, compared by class and fields, matched by position."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    _setters: ClassVar[tuple[Callable[[Any, Any], None], ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    #: The setters and defaults of the remaining fields by the number of given values, if all of these have defaults.
    _rest: ClassVar[dict[int, tuple[tuple[Callable[[Any, Any], None], Any], ...]]] = {}

    def __init__(self, *values: Any, **named: Any) -> None:
        setters = self._setters
        for setter, value in zip(setters, values, strict=False):
            setter(self, value)
        rest = self._rest.get(len(values))
        if rest is not None and not named:
            for setter, value in rest:
                setter(self, value)
            return
        names = self.__match_args__
        for name, setter in zip(names[len(values) :], setters[len(values) :], strict=True):
            if name in named:
                setter(self, named.pop(name))
            elif name in self._defaults:
                setter(self, self._defaults[name])
            else:
                raise TypeError(f"{type(self).__name__} requires a value for {name!r}")
        if named or len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has only the fields {', '.join(names)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self is other or all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __hash__(self) -> int:
        return hash((self.__class__, *[getattr(self, name) for name in self.__match_args__]))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({fields})"


@dataclass_transform(frozen_default=True)
def record(class_: type[T]) -> type[T]:
    """Return a ``Record`` with the annotated fields of the class. Instances share the fields' default values."""
    names = tuple(inspect.get_annotations(class_))
    namespace = {name: value for name, value in vars(class_).items() if name not in (*names, "__dict__", "__weakref__")}
    namespace |= {"__slots__": names, "__match_args__": names, "__qualname__": class_.__qualname__}
    bases = (*(base for base in class_.__bases__ if base is not object), Record)
    made: Any = type(class_.__name__, bases, namespace)
    made._setters = tuple(vars(made)[name].__set__ for name in names)
    made._defaults = {name: vars(class_)[name] for name in names if name in vars(class_)}
    made._rest = {
        given: tuple(zip(made._setters[given:], map(made._defaults.get, names[given:]), strict=True))
        for given in range(len(names) + 1)
        if made._defaults.keys() >= set(names[given:])
    }
    found: type[T] = made
    return found
