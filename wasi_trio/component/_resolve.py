"""Resolves the type definitions of a binary, which refer to each other by index, to types."""

from __future__ import annotations

from typing import Any

from wasi_trio.component import _definitions as d
from wasi_trio.component import _types as t
from wasi_trio.component._sorts import Sort

_PRIMITIVES = {
    p.name: p
    for p in (
        t.BOOL,
        t.S8,
        t.U8,
        t.S16,
        t.U16,
        t.S32,
        t.U32,
        t.S64,
        t.U64,
        t.F32,
        t.F64,
        t.CHAR,
        t.STRING,
        t.ERROR_CONTEXT,
    )
}


class Scope:
    """The index spaces of a component, a component type or an instance type, and the enclosing scope.

    ``types`` contains each type of this scope and the enclosing ones once, so equal types are one object. Types share
    their parts, and comparing them takes no longer than visiting the parts, even if their trees are enormous.
    """

    __slots__ = ("_spaces", "outer", "types")

    def __init__(self, outer: Scope | None) -> None:
        self.outer = outer
        self.types: dict[Any, Any] = {} if outer is None else outer.types
        self._spaces: dict[Sort, list[Any]] = {}

    def add(self, sort: Sort, item: Any) -> None:
        self._spaces.setdefault(sort, []).append(item)

    def get(self, sort: Sort, index: int) -> Any:
        return self._spaces[sort][index]


def resolve(definition: d.DefType, scope: Scope) -> Any:
    """Return a ``ValType`` or ``FuncType``. An instance or component type is returned unchanged, with its scope."""
    if isinstance(definition, d.InstanceTypeDef | d.ComponentTypeDef):
        return definition, scope
    type_ = _resolve(definition, scope)
    return scope.types.setdefault(type_, type_)


def _resolve(definition: d.DefType, scope: Scope) -> Any:
    match definition:
        case d.FuncTypeDef(params, result, is_async):
            return t.FuncType(
                tuple((name, _ref(type_, scope)) for name, type_ in params), resolve_reference(result, scope), is_async
            )
        case d.PrimitiveDef(name):
            return _PRIMITIVES[name]
        case d.RecordDef(fields):
            return t.Record(tuple((name, _ref(type_, scope)) for name, type_ in fields))
        case d.VariantDef(cases):
            return t.Variant(tuple((name, resolve_reference(type_, scope)) for name, type_ in cases))
        case d.ListDef(element, length):
            return t.List(_ref(element, scope), length)
        case d.TupleDef(types):
            return t.Tuple(tuple(_ref(type_, scope) for type_ in types))
        case d.FlagsDef(names):
            return t.Flags(names)
        case d.EnumDef(names):
            return t.Enum(names)
        case d.OptionDef(type_):
            return t.Option(_ref(type_, scope))
        case d.ResultDef(ok, err):
            return t.Result(resolve_reference(ok, scope), resolve_reference(err, scope))
        case d.MapDef(key, value):
            return t.Map(_ref(key, scope), _ref(value, scope))
        case d.OwnDef(resource):
            return t.Own(scope.get(Sort.TYPE, resource))
        case d.BorrowDef(resource):
            return t.Borrow(scope.get(Sort.TYPE, resource))
        case d.StreamDef(maybe):
            return t.Stream(resolve_reference(maybe, scope))
        case d.FutureDef(maybe):
            return t.Future(resolve_reference(maybe, scope))
        case other:
            raise AssertionError(f"{type(other).__name__} is defined elsewhere")


def _ref(reference: d.ValTypeRef, scope: Scope) -> t.ValType:
    if isinstance(reference, d.TypeIndex):
        type_: t.ValType = scope.get(Sort.TYPE, reference.index)
        return type_
    return _PRIMITIVES[reference]


def resolve_reference(reference: d.ValTypeRef | None, scope: Scope) -> t.ValType | None:
    """Return the type that a reference names, or None for None."""
    return None if reference is None else _ref(reference, scope)
