"""Planning: executes a component's definitions once, with symbols for runtime objects.

Everything in a component is static: the imports of each core module, the core function behind each lifted function, the
names of all imports. So this module executes the definitions once, including those of nested components. The work that
remains for each instance is a flat list of core instantiations. Instances of components are *parts*: part 0 is the
component itself, and each ``instantiate`` of a nested component is another part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from wasi_trio.component import _definitions as d
from wasi_trio.component import _types as t
from wasi_trio.component._errors import LinkError, Unsupported
from wasi_trio.component._plan import (
    AsyncBuiltin,
    Canon,
    CanonFunc,
    CoreInstance,
    CoreItem,
    HostFunc,
    Instance,
    InstantiateModule,
    Lifted,
    Lower,
    Options,
    Plan,
    ResourceBuiltin,
)
from wasi_trio.component._resolve import Scope, resolve, resolve_reference
from wasi_trio.component._sorts import Sort

#: Maximum number of parts and core instances of one component. Nesting can multiply them exponentially.
MAX_INSTANCES = 1_000
#: Maximum depth of instances within instances. A component can instantiate components of enclosing scopes, so the
#: nesting of definitions does not bound this depth.
MAX_DEPTH = 100
#: Maximum number of canonical definitions, each counted in every part that has it. Linking one takes up to 0.2 ms and
#: 10 KiB. A guest that contains a Python interpreter has about 250.
MAX_CANONS = 10_000
#: Maximum number of definitions, fields, cases and arguments that are executed for one component. Those of a component
#: count for each of its instances, those of an instance type for each import of that type.
MAX_STEPS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ComponentClosure:
    """A component and the scope that its outer aliases refer to."""

    component: d.Component
    scope: Scope


def plan(component: d.Component, locations: Mapping[int, tuple[int, str]] = MappingProxyType({})) -> Plan:
    """Execute a valid component's definitions. Raises Unsupported for a feature that this host does not run.

    ``locations`` maps the slot of each module that will be merged to the slot of the merged module and the prefix of
    the module's exports there (``component.merging``).
    """
    planner = _Planner(locations)
    arguments = _HostArguments(planner)
    planner.plan.exports = planner.instantiate(ComponentClosure(component, Scope(None)), arguments).exports
    return planner.plan


class Steps:
    """Counts the executed definitions."""

    def __init__(self) -> None:
        self.taken = 0
        #: The sizes of lists of definitions by id. The component keeps the lists alive.
        self._known: dict[int, int] = {}

    def take(self, definitions: tuple[d.Definition | d.Declaration, ...]) -> None:
        """Count definitions before they are executed. Raises Unsupported beyond MAX_STEPS."""
        known = self._known.get(id(definitions))
        if known is None:
            known = self._known[id(definitions)] = len(definitions) + sum(map(_members, definitions))
        self.taken += known
        if self.taken > MAX_STEPS:
            raise Unsupported(f"the component's instances have more than {MAX_STEPS} definitions and parts of them")


def _members(definition: d.Definition | d.Declaration) -> int:
    """Return the number of fields, cases, parameters or arguments of a definition."""
    listed = definition.type if isinstance(definition, d.TypeDefinition) else definition
    match listed:
        case d.RecordDef(members) | d.VariantDef(members) | d.TupleDef(members) | d.FlagsDef(members):
            return len(members)
        case d.EnumDef(members) | d.FuncTypeDef(members) | d.CoreInlineInstance(members) | d.InlineInstance(members):
            return len(members)
        case d.CoreInstantiate(_, members) | d.Instantiate(_, members):
            return len(members)
        case _:
            return 0


class _HostArguments:
    """The root component's imports: host functions and host resource types, created from the import types."""

    def __init__(self, planner: _Planner) -> None:
        self.planner = planner

    def get(self, name: str, type_: d.ExternType, scope: Scope) -> Any:
        match type_.sort:
            case Sort.INSTANCE:
                definition, outer = scope.get(Sort.TYPE, _index(type_))
                return self.instance(name, definition, outer)
            case Sort.FUNC:
                return self.func("", name, scope.get(Sort.TYPE, _index(type_)))
            case Sort.TYPE:
                return self.type("", name, type_, scope)
            case sort:
                raise _not_for_hosts(name, sort)

    def func(self, interface: str, name: str, type_: t.FuncType) -> HostFunc:
        func = HostFunc(interface, name, type_)
        self.planner.plan.host_funcs.append(func)
        return func

    def type(self, interface: str, name: str, type_: d.ExternType, scope: Scope) -> Any:
        if type_.bound is d.TypeBound.EQ:
            return scope.get(Sort.TYPE, _index(type_))
        resource = t.ResourceType(name)
        self.planner.plan.resources.append((interface, resource))
        return resource

    def instance(self, interface: str, definition: d.InstanceTypeDef, outer: Scope) -> Instance:
        scope = Scope(outer)
        exports: dict[str, tuple[Sort, Any]] = {}
        self.planner.steps.take(definition.declarations)
        for declaration in definition.declarations:
            match declaration:
                case d.ExportDecl(name, type_):
                    match type_.sort:
                        case Sort.FUNC:
                            item: Any = self.func(interface, name, scope.get(Sort.TYPE, _index(type_)))
                        case Sort.TYPE:
                            item = self.type(interface, name, type_, scope)
                        case Sort.INSTANCE:
                            item = self.instance(f"{interface}/{name}", *scope.get(Sort.TYPE, _index(type_)))
                        case sort:
                            raise _not_for_hosts(f"{interface} {name}", sort)
                    scope.add(type_.sort, item)
                    exports[name] = (type_.sort, item)
                case other:
                    define_type(other, scope)
        return Instance(exports)


class _GivenArguments:
    """The imports of a nested component, supplied by ``instantiate``."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def get(self, name: str, type_: d.ExternType, scope: Scope) -> Any:
        return self.given[name]


class _Planner:
    def __init__(self, locations: Mapping[int, tuple[int, str]]) -> None:
        self.locations = locations
        self.plan = Plan()
        self.module_indices: dict[int, int] = {}
        self.known_options: dict[tuple[Any, ...], Options] = {}
        self.slots = 0
        self.steps = Steps()
        #: The current depth of instances within instances.
        self.depth = 0

    def count(self) -> None:
        if self.plan.parts + self.slots > MAX_INSTANCES:
            raise Unsupported(f"the component has more than {MAX_INSTANCES} instances")

    def instantiate(
        self, closure: ComponentClosure, arguments: _HostArguments | _GivenArguments, parent: int | None = None
    ) -> Instance:
        part = self.plan.parts
        self.plan.parents.append(parent)
        self.count()
        scope = Scope(closure.scope)
        exports: dict[str, tuple[Sort, Any]] = {}
        self.steps.take(closure.component.definitions)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unsupported(f"the component creates instances within instances more than {MAX_DEPTH} levels deep")
        for definition in closure.component.definitions:
            self.define(definition, scope, part, arguments, exports)
        self.depth -= 1
        return Instance(exports)

    def define(
        self,
        definition: d.Definition,
        scope: Scope,
        part: int,
        arguments: _HostArguments | _GivenArguments,
        exports: dict[str, tuple[Sort, Any]],
    ) -> None:
        match definition:
            case d.Import(name, type_, implements):
                if implements is not None and isinstance(arguments, _HostArguments):
                    self.plan.implements[name] = implements
                scope.add(type_.sort, arguments.get(name, type_, scope))
            case d.Export(name, sort, index, _):
                item = scope.get(sort, index)
                exports[name] = (sort, item)
                scope.add(sort, item)
            case d.CoreModule():
                scope.add(Sort.CORE_MODULE, definition)
            case d.CoreInstantiate(module, args):
                scope.add(Sort.CORE_INSTANCE, self.instantiate_module(scope, part, module, args))
            case d.CoreInlineInstance(named):
                items = {name: (sort, scope.get(sort, index)) for name, sort, index in named}
                scope.add(Sort.CORE_INSTANCE, CoreInstance(None, items))
            case d.Component():
                scope.add(Sort.COMPONENT, ComponentClosure(definition, scope))
            case d.Instantiate(component, given):
                nested = _GivenArguments({name: scope.get(sort, index) for name, sort, index in given})
                scope.add(Sort.INSTANCE, self.instantiate(scope.get(Sort.COMPONENT, component), nested, part))
            case d.InlineInstance(named):
                scope.add(Sort.INSTANCE, Instance({n: (sort, scope.get(sort, i)) for n, sort, i in named}))
            case d.AliasCoreExport(sort, instance, name):
                scope.add(sort, scope.get(Sort.CORE_INSTANCE, instance).item(name, sort))
            case d.TypeDefinition(d.ResourceTypeDef(dtor)):
                resource = t.ResourceType(f"resource {len(self.plan.destructors)}", owner=part)
                if dtor is not None:
                    self.plan.destructors[resource] = scope.get(Sort.CORE_FUNC, dtor)
                scope.add(Sort.TYPE, resource)
            case d.CanonLift(core_func, options, type_index):
                core = scope.get(Sort.CORE_FUNC, core_func)
                lifted = Lifted(part, core, scope.get(Sort.TYPE, type_index), self.options(scope, part, options))
                self.plan.lifted.append(lifted)
                scope.add(Sort.FUNC, lifted)
            case d.CanonLower(func, options):
                self.canon(scope, Lower(part, scope.get(Sort.FUNC, func), self.options(scope, part, options)))
            case d.CanonBuiltin(name) if name in ("resource.new", "resource.drop", "resource.rep"):
                assert definition.type is not None
                self.canon(scope, ResourceBuiltin(part, name, scope.get(Sort.TYPE, definition.type)))
            case d.CanonBuiltin():
                self.canon(scope, self.async_builtin(scope, part, definition))
            case other:
                define_type(other, scope)

    def canon(self, scope: Scope, canon: Canon) -> None:
        if len(self.plan.canons) == MAX_CANONS:
            raise Unsupported(f"the component's instances have more than {MAX_CANONS} canonical definitions")
        scope.add(Sort.CORE_FUNC, CanonFunc(len(self.plan.canons)))
        self.plan.canons.append(canon)

    def options(self, scope: Scope, part: int, options: d.CanonOptions) -> Options:
        def func(index: int | None) -> CoreItem | None:
            return None if index is None else scope.get(Sort.CORE_FUNC, index)

        memory = None if options.memory is None else scope.get(Sort.CORE_MEMORY, options.memory)
        key = (
            part,
            options.encoding,
            memory,
            func(options.realloc),
            func(options.post_return),
            options.is_async,
            func(options.callback),
        )
        return self.known_options.setdefault(key, Options(*key[1:]))

    def async_builtin(self, scope: Scope, part: int, builtin: d.CanonBuiltin) -> AsyncBuiltin:
        options = builtin.options
        if builtin.memory is not None:
            options = replace(options, memory=builtin.memory)
        if builtin.flag:
            options = replace(options, is_async=True)
        type_ = resolve_reference(builtin.result, scope)
        if builtin.type is not None:
            type_ = scope.get(Sort.TYPE, builtin.type)
        return AsyncBuiltin(
            part,
            builtin.name,
            type_,
            self.options(scope, part, options),
            builtin.immediate or 0,
            builtin.core_type or "i32",
        )

    def instantiate_module(
        self, scope: Scope, part: int, module: int, args: tuple[tuple[str, int], ...]
    ) -> CoreInstance:
        definition = scope.get(Sort.CORE_MODULE, module)
        index = self.module_indices.get(id(definition))
        if index is None:
            index = self.module_indices[id(definition)] = len(self.plan.modules)
            self.plan.modules.append(definition.code)
        slot = self.slots
        self.slots += 1
        merged, prefix = self.locations.get(slot, (slot, ""))
        self.count()
        given = {name: scope.get(Sort.CORE_INSTANCE, instance) for name, instance in args}
        self.plan.steps.append(InstantiateModule(slot, part, index, given))
        return CoreInstance(merged, None, prefix)


def define_type(definition: d.Definition | d.Declaration, scope: Scope) -> None:
    """Execute a definition that components and instance types have in common: a type or an alias."""
    match definition:
        case d.CoreTypeDefinition():
            scope.add(Sort.CORE_TYPE, None)
        case d.TypeDefinition(type_):
            scope.add(Sort.TYPE, resolve(type_, scope))
        case d.AliasExport(sort, instance, name):
            source = scope.get(Sort.INSTANCE, instance)
            scope.add(sort, source.exports[name][1])
        case d.AliasOuter(sort, count, index):
            outer = scope
            for _ in range(count):
                assert outer.outer is not None, "the validator has counted the scopes"
                outer = outer.outer
            scope.add(sort, outer.get(sort, index))
        case other:
            raise AssertionError(f"{type(other).__name__} is not a definition of this place")


def _not_for_hosts(name: str, sort: Sort) -> LinkError:
    line = f"{name} (a {sort.value}, which a host cannot provide)"
    return LinkError(f"the component imports {line}", missing=(line,))


def _index(type_: d.ExternType) -> int:
    assert type_.index is not None
    return type_.index
