"""Types with the Python classes of their values, which come from generated bindings.

The classes are subclasses of the usual values (``component._values``), so only lifting has to know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasi_trio.component import _types as t
from wasi_trio.component._types import FuncType, ValType
from wasi_trio.component._values import Err, Ok, Some, Variant

#: The class of a record, enum, flags or resource, or the classes of a variant's cases.
Classes = type[Any] | tuple[type[Any], ...]


class Typing:
    """Adds Python classes to the types that a component declares.

    ``classes`` maps the identity of WIT types to classes. A named type is the same object wherever its name occurs.
    Equality would not do, because types with equal structure may have different names.
    """

    def __init__(self, classes: Mapping[int, Classes]) -> None:
        self._classes = classes
        self._known: dict[tuple[int, int], tuple[ValType, ValType, ValType]] = {}

    def parameters(self, declared: FuncType, named: FuncType) -> tuple[ValType, ...]:
        """Return the types of a function's parameters. ``named`` is the WIT function, which has the same structure."""
        return tuple(
            self.of(theirs, ours) for (_, theirs), (_, ours) in zip(declared.params, named.params, strict=True)
        )

    def maybe(self, declared: ValType | None, named: ValType | None) -> ValType | None:
        return None if declared is None or named is None else self.of(declared, named)

    def of(self, declared: ValType, named: ValType) -> ValType:
        key = (id(declared), id(named))
        known = self._known.get(key)
        if known is None:
            made = self._of(declared, named)
            # The types are kept alive, so that no other type gets the same ids.
            known = self._known[key] = (declared, named, made)
        return known[2]

    def _of(self, declared: ValType, named: ValType) -> ValType:
        class_: Any = self._classes.get(id(named))
        match declared, named:
            case t.Record(fields), t.Record(ours):
                return t.Record(
                    tuple((name, self.of(of, our)) for (name, of), (_, our) in zip(fields, ours, strict=True)), class_
                )
            case t.Variant(cases), t.Variant(ours_):
                return t.Variant(
                    tuple((name, self.maybe(of, our)) for (name, of), (_, our) in zip(cases, ours_, strict=True)),
                    class_,
                )
            case t.Enum(names), _:
                return t.Enum(names, class_)
            case t.Flags(names), _:
                return t.Flags(names, class_)
            case t.Own(resource), t.Own(ours_resource):
                return t.Own(resource, self._resource(resource, ours_resource))
            case t.List(element, length), t.List(our_element):
                return t.List(self.of(element, our_element), length)
            case t.Tuple(items), t.Tuple(our_items):
                return t.Tuple(tuple(self.of(of, our) for of, our in zip(items, our_items, strict=True)))
            case t.Option(inner), t.Option(our_inner):
                return t.Option(self.of(inner, our_inner))
            case t.Result(ok, err), t.Result(our_ok, our_err):
                return t.Result(self.maybe(ok, our_ok), self.maybe(err, our_err))
            case t.Map(map_key, value), t.Map(our_key, our_value):
                return t.Map(self.of(map_key, our_key), self.of(value, our_value))
            case t.Stream(element_), t.Stream(our_element_):
                return t.Stream(element_, self._element(element_, our_element_))
            case t.Future(element_), t.Future(our_element_):
                return t.Future(element_, self._element(element_, our_element_))
            case _:
                return declared

    def _resource(self, declared: t.ResourceType, named: t.ResourceType) -> type[Any] | None:
        class_: Any = self._classes.get(id(named))
        return None if declared.owner is None else class_

    def _element(self, declared: ValType | None, named: ValType | None) -> ValType | None:
        typed = self.maybe(declared, named)
        return None if typed == declared else typed


# ---- values that are already lifted ----------------------------------------------------------------------


def plain_cases(type_: ValType) -> tuple[Any, ...]:
    """Return the values of an enum's or variant's cases without payload."""
    match type_:
        case t.Enum(names, class_):
            return names if class_ is None else tuple(map(class_, names))
        case t.Variant(cases, classes):
            made: Sequence[type[Any]] = [Variant] * len(cases) if classes is None else classes
            return tuple(tuple.__new__(class_, (name, None)) for class_, (name, _) in zip(made, cases, strict=True))
    raise AssertionError(type_)


def converter(type_: ValType) -> Callable[[Any], Any]:
    """Return a function that converts elements of streams and futures to the classes of their type.

    The elements were lifted without classes, or written by another host function.
    """
    match type_:
        case t.Record(fields, class_) if class_ is not None:
            members = [(name, converter(of)) for name, (_, of) in zip(_attributes(class_), fields, strict=True)]
            record: type[Any] = class_
            return lambda value: tuple.__new__(record, [part(getattr(value, name)) for name, part in members])
        case t.Tuple(items):
            parts = [converter(of) for of in items]
            return lambda value: tuple(part(item) for part, item in zip(parts, value, strict=True))
        case t.Variant(cases, classes) if classes is not None:
            by_case = {
                name: (class_, _same if of is None else converter(of))
                for (name, of), class_ in zip(cases, classes, strict=True)
            }

            def variant(value: Any) -> Any:
                name, payload = (value, None) if isinstance(value, str) else value
                class_, part = by_case[name]
                return tuple.__new__(class_, (name, part(payload)))

            return variant
        case t.Enum(_, class_) if class_ is not None:
            return class_
        case t.Flags(_, class_) if class_ is not None:
            return lambda value: frozenset(map(class_, value))
        case t.List(element):
            part = converter(element)
            return _same if part is _same else lambda value: list(map(part, value))
        case t.Option(inner):
            part = converter(inner)
            if isinstance(inner, t.Option):
                return lambda value: None if value is None else Some(part(value[0]))
            return lambda value: None if value is None else part(value)
        case t.Result(ok, err):
            good = _same if ok is None else converter(ok)
            bad = _same if err is None else converter(err)
            return lambda value: Ok(good(value.value)) if isinstance(value, Ok) else Err(bad(value.value))
        case t.Map(key_type, value_type):
            of_key, of_value = converter(key_type), converter(value_type)
            return lambda value: {of_key(key): of_value(item) for key, item in value.items()}
        case _:
            return _same


def _attributes(class_: type[Any]) -> tuple[str, ...]:
    fields: tuple[str, ...] = class_._fields
    return fields


def _same(value: Any) -> Any:
    return value
