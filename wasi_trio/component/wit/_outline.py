"""A component's imports and exports with the names of their types.

A plan has types by structure and without names, as the Canonical ABI requires. This module executes the definitions
again for WIT text, so a type records its name in each instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wasi_trio.component import _definitions as d
from wasi_trio.component._errors import Unsupported
from wasi_trio.component._planning import MAX_DEPTH, Steps
from wasi_trio.component._resolve import Scope
from wasi_trio.component._sorts import Sort


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """A value type's definition. Its indices refer to ``scope``."""

    definition: d.ValTypeDef
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Func:
    """A function type. Its indices refer to ``scope``."""

    definition: d.FuncTypeDef
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A resource type, equal only to itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A type with the name that an instance, or the component's root, gives it.

    ``target`` is the type that it equals. ``origin`` is the type at the end of the chain of targets.
    """

    name: str
    target: Type
    origin: Plain | Resource


Type: TypeAlias = Plain | Resource | Named


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An instance's exports: the sort and the item of each, a Named, a Func, an Instance or an irrelevant object."""

    exports: dict[str, tuple[Sort, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A component, a component type or an instance type, with the scope that its outer aliases refer to."""

    definitions: tuple[d.Definition | d.Declaration, ...]
    scope: Scope


@dataclass(frozen=True, slots=True)
class Outline:
    """The imports and the exports of a component, in order."""

    imports: Instance
    exports: Instance


def outline(component: d.Component) -> Outline:
    """Execute those of a valid component's definitions that concern types.

    Raises Unsupported if the component's nested components exceed the limits on definitions and depth.
    """
    reader = _Outliner()
    found = Outline(Instance(), Instance())
    reader.run(Closure(component.definitions, Scope(None)), found.exports, None, found.imports)
    return found


class _Outliner:
    def __init__(self) -> None:
        self.steps = Steps()
        #: The current depth of closures within closures.
        self.depth = 0

    def run(
        self, closure: Closure, exports: Instance, given: Mapping[str, Any] | None, imports: Instance | None = None
    ) -> None:
        """Execute definitions. The imports are those ``given``, or new ones that are added to ``imports``."""
        scope = Scope(closure.scope)
        self.steps.take(closure.definitions)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unsupported(f"the component has instances within instances more than {MAX_DEPTH} levels deep")
        for definition in closure.definitions:
            match definition:
                case d.Import(name, type_, _) | d.ImportDecl(name, type_):
                    if given is not None:
                        item = given[name]
                    else:
                        assert imports is not None, "an instance type has no imports"
                        item = self.declared(name, type_, scope, imports)
                    scope.add(type_.sort, item)
                case d.ExportDecl(name, type_):
                    scope.add(type_.sort, self.declared(name, type_, scope, exports))
                case d.Export(name, sort, index, type_):
                    scope.add(sort, self.exported(name, sort, index, type_, scope, exports))
                case other:
                    self.define(other, scope)
        self.depth -= 1

    def declared(self, name: str, type_: d.ExternType, scope: Scope, home: Instance) -> Any:
        """Create the item of a declaration and add it to ``home``."""
        item: Any = None
        if type_.bound is d.TypeBound.SUB_RESOURCE:
            item = Resource()
        elif type_.sort is not Sort.CORE_MODULE:
            assert type_.index is not None
            item = scope.get(Sort.TYPE, type_.index)
        if type_.sort is Sort.TYPE:
            item = _named(name, item)
        elif type_.sort is Sort.INSTANCE:
            closure, item = item, Instance()
            self.run(closure, item, None)
        home.exports[name] = (type_.sort, item)
        return item

    def exported(
        self, name: str, sort: Sort, index: int, type_: d.ExternType | None, scope: Scope, home: Instance
    ) -> Any:
        """Return the item of an export, whose type may rename it or hide some of its exports."""
        item = _item(scope, sort, index)
        if sort is Sort.TYPE:
            item = _named(name, item)
        elif type_ is not None and type_.index is not None:
            if sort is Sort.FUNC:
                item = scope.get(Sort.TYPE, type_.index)
            elif sort is Sort.INSTANCE:
                shown = Instance()
                self.run(scope.get(Sort.TYPE, type_.index), shown, None)
                item = Instance({name: found for name, found in item.exports.items() if name in shown.exports})
        home.exports[name] = (sort, item)
        return item

    def define(self, definition: d.Definition | d.Declaration, scope: Scope) -> None:
        match definition:
            case d.TypeDefinition(d.ResourceTypeDef()):
                scope.add(Sort.TYPE, Resource())
            case d.TypeDefinition(d.FuncTypeDef() as type_):
                scope.add(Sort.TYPE, Func(type_, scope))
            case d.TypeDefinition(d.InstanceTypeDef(declarations) | d.ComponentTypeDef(declarations)):
                scope.add(Sort.TYPE, Closure(declarations, scope))
            case d.TypeDefinition(value):
                # mypy does not infer that the cases above exclude these types.
                assert not isinstance(value, d.ResourceTypeDef | d.FuncTypeDef | d.InstanceTypeDef | d.ComponentTypeDef)
                scope.add(Sort.TYPE, Plain(value, scope))
            case d.CanonLift(_, _, type_index):
                scope.add(Sort.FUNC, scope.get(Sort.TYPE, type_index))
            case d.Component(definitions):
                scope.add(Sort.COMPONENT, Closure(definitions, scope))
            case d.Instantiate(component, arguments):
                instance = Instance()
                given = {name: _item(scope, sort, index) for name, sort, index in arguments}
                self.run(scope.get(Sort.COMPONENT, component), instance, given)
                scope.add(Sort.INSTANCE, instance)
            case d.InlineInstance(exports):
                instance = Instance()
                for name, sort, index in exports:
                    self.exported(name, sort, index, None, scope, instance)
                scope.add(Sort.INSTANCE, instance)
            case d.AliasExport(sort, instance_index, name) if sort is not Sort.CORE_MODULE:
                scope.add(sort, scope.get(Sort.INSTANCE, instance_index).exports[name][1])
            case d.AliasOuter(sort, count, index) if sort in (Sort.TYPE, Sort.COMPONENT):
                outer = scope
                for _ in range(count):
                    assert outer.outer is not None, "the validator has counted the scopes"
                    outer = outer.outer
                scope.add(sort, outer.get(sort, index))


def _named(name: str, target: Type) -> Named:
    return Named(name, target, target.origin if isinstance(target, Named) else target)


def _item(scope: Scope, sort: Sort, index: int) -> Any:
    return None if sort is Sort.CORE_MODULE else scope.get(sort, index)
