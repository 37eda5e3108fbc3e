"""Dataclasses that are cheap to define.

``dataclasses.dataclass`` generates and compiles up to seven methods for each class when its module is imported, which
takes 0.5 ms. The hundred classes of this package would take longer than running a small command. The classes made here
share their methods, except ``__init__``, which is generated at its first use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["dataclass"]

T = TypeVar("T")


class _Factory:
    """The default of a parameter whose field has a factory."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


class _Initializer:
    """The ``__init__`` of a class until its first use, which replaces it with a generated function."""

    def __init__(self, class_: type[Any], frozen: bool) -> None:
        self._class = class_
        self._frozen = frozen

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        made = self._class.__init__ = _initializer(self._class, self._frozen)
        return made.__get__(instance, owner)


def _initializer(class_: Any, frozen: bool) -> Any:
    """Generate the ``__init__`` of a class."""
    parameters, lines = [""], []
    names: dict[str, Any] = {"_factory": _FACTORY}
    for number, field in enumerate(dataclasses.fields(class_)):
        name, value = field.name, field.name
        if field.default_factory is not dataclasses.MISSING:
            names[f"_make{number}"] = field.default_factory
            parameters.append(f"{name}=_factory")
            value = f"_make{number}() if {name} is _factory else {name}"
        elif field.default is not dataclasses.MISSING:
            names[f"_default{number}"] = field.default
            parameters.append(f"{name}=_default{number}")
        else:
            parameters.append(name)
        if frozen:
            names[f"_set{number}"] = getattr(class_, name).__set__
            lines.append(f"_set{number}(self, {value})")
        else:
            lines.append(f"self.{name} = {value}")
    if hasattr(class_, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    exec(f"def __init__(self{', '.join(parameters)}):\n  {body}", names)
    made = names["__init__"]
    made.__qualname__ = f"{class_.__qualname__}.__init__"
    made.__annotations__ = {field.name: field.type for field in dataclasses.fields(class_)} | {"return": None}
    return made


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


def _comparison(names: tuple[str, ...]) -> tuple[Callable[[Any, object], Any], Callable[[Any], int]]:
    """Return ``__eq__`` and ``__hash__`` for a class with these fields."""
    values = attrgetter(*names)

    def __eq__(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self is other or values(self) == values(other)

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __eq__, __hash__


def _dataclass(*, frozen: bool = False, eq: bool = True, slots: bool) -> Callable[[type[T]], type[T]]:
    """Return a decorator like ``dataclasses.dataclass`` for classes with slots.

    The functions of the module ``dataclasses`` work with the class. Not supported are ``InitVar``, and the arguments of
    ``field`` other than ``default``, ``default_factory`` and ``repr``.
    """
    assert slots, "only classes with slots are supported"

    def decorate(class_: type[T]) -> type[T]:
        made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(class_)
        own = vars(class_)
        methods: dict[str, Any] = {"__init__": _Initializer(made, frozen), "__repr__": _repr}
        if frozen:
            methods |= {"__setattr__": _set, "__delattr__": _delete, "__getstate__": _state, "__setstate__": _restore}
        if eq:
            methods["__eq__"], hashed = _comparison(made.__match_args__)
            methods["__hash__"] = hashed if frozen else None
        for name, method in methods.items():
            # A class without its own __eq__ has the entry None for __hash__ if it has the other.
            if own.get(name) is None:
                setattr(made, name, method)
        return made  # type: ignore[no-any-return]

    return decorate


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = _dataclass
