"""The definitions of a component, as its binary lists them (Binary.md of the Component Model).

A component is a list of definitions. Each adds to one of the component's index spaces. An index refers to such a space
in its state at that definition. Linking resolves the indices.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from wasi_trio.component._record import record
from wasi_trio.component._sorts import Sort, StringEncoding

# ---- types, with indices into the type space -------------------------------------------------------------


@record
class TypeIndex:
    index: int


#: A primitive's WIT name, or an index into the type space.
ValTypeRef: TypeAlias = "str | TypeIndex"


@record
class RecordDef:
    fields: tuple[tuple[str, ValTypeRef], ...]


@record
class VariantDef:
    cases: tuple[tuple[str, ValTypeRef | None], ...]


@record
class ListDef:
    element: ValTypeRef
    length: int | None = None


@record
class TupleDef:
    types: tuple[ValTypeRef, ...]


@record
class FlagsDef:
    names: tuple[str, ...]


@record
class EnumDef:
    names: tuple[str, ...]


@record
class OptionDef:
    type: ValTypeRef


@record
class ResultDef:
    ok: ValTypeRef | None
    err: ValTypeRef | None


@record
class MapDef:
    key: ValTypeRef
    value: ValTypeRef


@record
class OwnDef:
    resource: int


@record
class BorrowDef:
    resource: int


@record
class StreamDef:
    element: ValTypeRef | None


@record
class FutureDef:
    element: ValTypeRef | None


@record
class PrimitiveDef:
    name: str


@record
class FuncTypeDef:
    params: tuple[tuple[str, ValTypeRef], ...]
    result: ValTypeRef | None
    is_async: bool


@record
class ResourceTypeDef:
    """A resource type that a component implements. ``dtor`` is a core func index or None."""

    dtor: int | None


@record
class InstanceTypeDef:
    """An instance type. Its declarations have their own scope: types, aliases and ``ExportDecl``."""

    declarations: tuple[Declaration, ...]


@record
class ComponentTypeDef:
    """A component type. Unlike an instance type it may contain ``ImportDecl``."""

    declarations: tuple[Declaration, ...]


ValTypeDef: TypeAlias = (
    PrimitiveDef
    | RecordDef
    | VariantDef
    | ListDef
    | TupleDef
    | FlagsDef
    | EnumDef
    | OptionDef
    | ResultDef
    | MapDef
    | OwnDef
    | BorrowDef
    | StreamDef
    | FutureDef
)
DefType: TypeAlias = ValTypeDef | FuncTypeDef | ResourceTypeDef | InstanceTypeDef | ComponentTypeDef


class TypeBound(enum.Enum):
    EQ = "eq"
    SUB_RESOURCE = "sub resource"


@record
class ExternType:
    """The declared type of an import or export.

    ``index`` refers to the core type space for CORE_MODULE, and to the type space for FUNC, COMPONENT, INSTANCE and
    TYPE with ``bound`` EQ. It is None for TYPE with SUB_RESOURCE.
    """

    sort: Sort
    index: int | None
    bound: TypeBound | None = None


@record
class ImportDecl:
    name: str
    type: ExternType


@record
class ExportDecl:
    name: str
    type: ExternType


# ---- definitions -----------------------------------------------------------------------------------------


@record
class CoreModule:
    """A core module's bytes, as a slice of the component's bytes."""

    code: memoryview


@record
class CoreInstantiate:
    """A core module's instantiation. ``args`` pairs an import module name with a core instance index."""

    module: int
    args: tuple[tuple[str, int], ...]


@record
class CoreInlineInstance:
    """A core instance that consists of entries of the core index spaces."""

    exports: tuple[tuple[str, Sort, int], ...]


@record
class CoreTypeDefinition:
    """A core type. Its content is not kept, because only wasmtime needs it."""


@record
class Instantiate:
    """A component's instantiation. ``args`` are (import name, sort, index)."""

    component: int
    args: tuple[tuple[str, Sort, int], ...]


@record
class InlineInstance:
    exports: tuple[tuple[str, Sort, int], ...]


@record
class AliasExport:
    sort: Sort
    instance: int
    name: str


@record
class AliasCoreExport:
    sort: Sort
    instance: int
    name: str


@record
class AliasOuter:
    """An alias to an enclosing scope, ``count`` scopes outward. 0 is the scope of the alias."""

    sort: Sort
    count: int
    index: int


@record
class TypeDefinition:
    type: DefType


@dataclass(frozen=True, slots=True)  # a dataclass, because dataclasses.replace is used on it
class CanonOptions:
    """The core indices of the canonical options. ``is_async`` and ``callback`` belong to WASI 0.3."""

    encoding: StringEncoding = StringEncoding.UTF8
    memory: int | None = None
    realloc: int | None = None
    post_return: int | None = None
    is_async: bool = False
    callback: int | None = None


@record
class CanonLift:
    """A ``canon lift``. It adds a func."""

    core_func: int
    options: CanonOptions
    type: int


@record
class CanonLower:
    """A ``canon lower``. It adds a core func."""

    func: int
    options: CanonOptions


@record
class CanonBuiltin:
    """Any other canonical definition. It adds a core func.

    ``name`` is the Explainer's (``resource.new``, ``task.return``, ``stream.read``, ...). ``type`` is a type index, if
    the definition has one. ``result`` is the result list of ``task.return``. ``flag`` is an ``async?``
    immediate. ``memory`` belongs to waitable-set.wait/poll. ``immediate`` is the slot of
    context.get/set, and ``core_type`` its core value type ("i32" or "i64").
    """

    name: str
    type: int | None = None
    options: CanonOptions = CanonOptions()
    result: ValTypeRef | None = None
    flag: bool = False
    memory: int | None = None
    immediate: int | None = None
    core_type: str | None = None


@record
class Import:
    """An import. ``implements`` is the interface that an instance with a plain name declares to implement, or None."""

    name: str
    type: ExternType
    implements: str | None = None


@record
class Export:
    """An export. It also adds to the index space of its sort."""

    name: str
    sort: Sort
    index: int
    type: ExternType | None


@record
class Component:
    """A component, possibly nested in another."""

    definitions: tuple[Definition, ...]


Alias: TypeAlias = AliasExport | AliasCoreExport | AliasOuter
Declaration: TypeAlias = CoreTypeDefinition | TypeDefinition | Alias | ImportDecl | ExportDecl
Definition: TypeAlias = (
    CoreModule
    | CoreInstantiate
    | CoreInlineInstance
    | CoreTypeDefinition
    | Component
    | Instantiate
    | InlineInstance
    | Alias
    | TypeDefinition
    | CanonLift
    | CanonLower
    | CanonBuiltin
    | Import
    | Export
)
