"""Reads types, names, externtypes and aliases.

See "Type Definitions", "Alias Definitions" and ``nameattributes`` in Binary.md.
"""

from __future__ import annotations

from wasi_trio.component._core_types import skip_core_type
from wasi_trio.component._definitions import (
    Alias,
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    BorrowDef,
    ComponentTypeDef,
    CoreTypeDefinition,
    Declaration,
    DefType,
    EnumDef,
    ExportDecl,
    ExternType,
    FlagsDef,
    FuncTypeDef,
    FutureDef,
    ImportDecl,
    InstanceTypeDef,
    ListDef,
    MapDef,
    OptionDef,
    OwnDef,
    PrimitiveDef,
    RecordDef,
    ResourceTypeDef,
    ResultDef,
    StreamDef,
    TupleDef,
    TypeBound,
    TypeDefinition,
    TypeIndex,
    ValTypeRef,
    VariantDef,
)
from wasi_trio.component._reader import Reader, T
from wasi_trio.component._sorts import Sort

PRIMITIVES = {
    0x7F: "bool",
    0x7E: "s8",
    0x7D: "u8",
    0x7C: "s16",
    0x7B: "u16",
    0x7A: "s32",
    0x79: "u32",
    0x78: "s64",
    0x77: "u64",
    0x76: "f32",
    0x75: "f64",
    0x74: "char",
    0x73: "string",
    0x64: "error-context",
}

SORTS = {
    0x01: Sort.FUNC,
    0x02: Sort.VALUE,
    0x03: Sort.TYPE,
    0x04: Sort.COMPONENT,
    0x05: Sort.INSTANCE,
}
CORE_SORTS = {
    0x00: Sort.CORE_FUNC,
    0x01: Sort.CORE_TABLE,
    0x02: Sort.CORE_MEMORY,
    0x03: Sort.CORE_GLOBAL,
    0x04: Sort.CORE_TAG,
    0x10: Sort.CORE_TYPE,
    0x11: Sort.CORE_MODULE,
    0x12: Sort.CORE_INSTANCE,
}

#: The sorts of a component instance's exports, and of a component's imports and exports.
INSTANCE_SORTS = frozenset((Sort.CORE_MODULE, Sort.FUNC, Sort.TYPE, Sort.COMPONENT, Sort.INSTANCE))
#: The sorts of a core instance's exports.
CORE_INSTANCE_SORTS = frozenset((Sort.CORE_FUNC, Sort.CORE_TABLE, Sort.CORE_MEMORY, Sort.CORE_GLOBAL, Sort.CORE_TAG))
#: The sorts that an inner scope can alias, because they are the same in each instantiation.
OUTER_SORTS = frozenset((Sort.CORE_MODULE, Sort.CORE_TYPE, Sort.TYPE, Sort.COMPONENT))

CORE_I32, CORE_I64 = 0x7F, 0x7E
MAX_FLAGS = 32


class TypeReader(Reader):
    """A reader of the productions in types, imports and exports."""

    __slots__ = ()

    # ---- names and sorts ---------------------------------------------------------------------------------

    def extern_name(self) -> str:
        """Read ``nameattributes`` and return the name of an import or export."""
        return self.attributed_name()[0]

    def attributed_name(self) -> tuple[str, str | None]:
        """Read ``nameattributes`` and return the name and its ``implements``. The other attributes have no effect."""
        start = self.position
        form = self.byte("name")
        if form > 0x02:
            raise self.malformed(f"unknown kind of name {form:#04x}", start)
        name = self.raw_name("name")
        implements = None
        if form == 0x02:
            for kind, value in self.vector("name attributes", self.attribute):
                if kind == 0x00:
                    implements = value
        return name, implements

    def attribute(self) -> tuple[int, str]:
        start = self.position
        kind = self.byte("name attribute")
        if kind > 0x02:
            raise self.malformed(f"unknown name attribute {kind:#04x}", start)
        return kind, self.raw_name("name attribute")

    def label(self) -> str:
        return self.raw_name("label")

    def sort(self) -> Sort:
        start = self.position
        code = self.byte("sort")
        if code == 0x00:
            return self.core_sort()
        sort = SORTS.get(code)
        if sort is None:
            raise self.malformed(f"unknown sort {code:#04x}", start)
        if sort is Sort.VALUE:
            raise self.unsupported("component-level values", start)
        return sort

    def core_sort(self) -> Sort:
        start = self.position
        code = self.byte("core sort")
        sort = CORE_SORTS.get(code)
        if sort is None:
            raise self.malformed(f"unknown core sort {code:#04x}", start)
        return sort

    def sort_index(self) -> tuple[Sort, int]:
        """Read the ``sortidx`` of a possible export of a component instance."""
        start = self.position
        sort = self.sort()
        if sort not in INSTANCE_SORTS:
            raise self.malformed(f"a {sort.value} cannot be imported or exported", start)
        return sort, self.index(sort)

    # ---- aliases -----------------------------------------------------------------------------------------

    def alias(self) -> Alias:
        start = self.position
        sort = self.sort()
        kind = self.byte("kind of an alias")
        allowed = (INSTANCE_SORTS, CORE_INSTANCE_SORTS, OUTER_SORTS)
        if kind >= len(allowed):
            raise self.malformed(f"unknown kind of alias {kind:#04x}", start)
        if sort not in allowed[kind]:
            raise self.malformed(f"a {sort.value} cannot be aliased this way", start)
        alias: Alias
        if kind == 0x00:
            alias = AliasExport(sort, self.index(Sort.INSTANCE), self.raw_name("name"))
        elif kind == 0x01:
            alias = AliasCoreExport(sort, self.index(Sort.CORE_INSTANCE), self.raw_name("name"))
        else:
            alias = self.outer_alias(sort)
        self.define(sort)
        return alias

    def outer_alias(self, sort: Sort) -> AliasOuter:
        start = self.position
        count = self.u32("number of scopes")
        if count > self.scope.depth:
            raise self.malformed(f"outer alias {count} scopes up, but only {self.scope.depth} exist", start)
        scope = self.scope
        for _ in range(count):
            assert scope.outer is not None
            scope = scope.outer
        start = self.position
        return AliasOuter(sort, count, self.check_index(sort, self.u32("outer index"), start, scope))

    # ---- value types -------------------------------------------------------------------------------------

    def val_type(self) -> ValTypeRef:
        position = self.position
        code = self.data[position] if position < self.end else 0
        if code & 0xC0 != 0x40:
            return TypeIndex(self.check_index(Sort.TYPE, self.s33_index("value type"), position, self.scope))
        primitive = PRIMITIVES.get(code)
        if primitive is None:
            raise self.malformed(f"unknown value type {code:#04x}")
        self.position = position + 1
        return primitive

    def optional_val_type(self) -> ValTypeRef | None:
        return self.optional("value type", self.val_type)

    def labelled_type(self) -> tuple[str, ValTypeRef]:
        return self.label(), self.val_type()

    def case(self) -> tuple[str, ValTypeRef | None]:
        label, payload = self.label(), self.optional_val_type()
        self.expect(0x00, "end of a variant case")
        return label, payload

    def result_list(self) -> ValTypeRef | None:
        """Read the result of a function, which may have none."""
        start = self.position
        if not self.flag("kind of results"):
            return self.val_type()
        if self.u32("number of named results"):
            raise self.unsupported("named results of functions", start)
        return None

    # ---- type definitions --------------------------------------------------------------------------------

    def type_definition(self) -> TypeDefinition:
        """Read a ``type`` and add it to the type index space."""
        definition = TypeDefinition(self.def_type())
        self.define(Sort.TYPE)
        return definition

    def def_type(self) -> DefType:
        start = self.position
        code = self.byte("type")
        primitive = PRIMITIVES.get(code)
        if primitive is not None:
            return PrimitiveDef(primitive)
        match code:
            case 0x72:
                return RecordDef(self.some("record fields", self.vector("record fields", self.labelled_type)))
            case 0x71:
                return VariantDef(self.some("variant cases", self.vector("variant cases", self.case)))
            case 0x70:
                return ListDef(self.val_type())
            case 0x67:
                return self.fixed_length_list()
            case 0x6F:
                return TupleDef(self.some("tuple elements", self.vector("tuple elements", self.val_type)))
            case 0x6E:
                names = self.some("flags", self.vector("flags", self.label))
                if len(names) > MAX_FLAGS:
                    raise self.malformed(f"flags type with {len(names)} flags, but the maximum is {MAX_FLAGS}", start)
                return FlagsDef(names)
            case 0x6D:
                return EnumDef(self.some("enum cases", self.vector("enum cases", self.label)))
            case 0x6B:
                return OptionDef(self.val_type())
            case 0x6A:
                return ResultDef(self.optional_val_type(), self.optional_val_type())
            case 0x69:
                return OwnDef(self.index(Sort.TYPE))
            case 0x68:
                return BorrowDef(self.index(Sort.TYPE))
            case 0x66:
                return StreamDef(self.optional_val_type())
            case 0x65:
                return FutureDef(self.optional_val_type())
            case 0x63:
                return MapDef(self.val_type(), self.val_type())
            case 0x40 | 0x43:
                params = self.vector("parameters", self.labelled_type)
                return FuncTypeDef(params, self.result_list(), is_async=code == 0x43)
            case 0x3F:
                return self.resource_type()
            case 0x3E:
                raise self.unsupported("asynchronous destructors of resources", start)
            case 0x41:
                with self.nested_scope():
                    return ComponentTypeDef(self.declarations(imports=True))
            case 0x42:
                with self.nested_scope():
                    return InstanceTypeDef(self.declarations(imports=False))
        raise self.malformed(f"unknown type {code:#04x}", start)

    def some(self, what: str, elements: tuple[T, ...]) -> tuple[T, ...]:
        if not elements:
            raise self.malformed(f"a type without any {what}")
        return elements

    def fixed_length_list(self) -> ListDef:
        element = self.val_type()
        start = self.position
        length = self.u32("list length")
        if not length:
            raise self.malformed("a list of fixed length 0", start)
        return ListDef(element, length)

    def resource_type(self) -> ResourceTypeDef:
        start = self.position
        representation = self.byte("representation of a resource")
        if representation == CORE_I64:
            raise self.unsupported("resources represented by an i64", start)
        if representation != CORE_I32:
            raise self.malformed(f"representation of a resource is {representation:#04x}", start)
        return ResourceTypeDef(self.optional("destructor", lambda: self.index(Sort.CORE_FUNC)))

    def declarations(self, imports: bool) -> tuple[Declaration, ...]:
        declarations: list[Declaration] = []
        for _ in range(self.count("type declarations")):
            start = self.position
            kind = self.byte("type declaration")
            if kind == 0x00:
                declarations += self.core_types()
            elif kind == 0x01:
                definition = self.type_definition()
                if isinstance(definition.type, ResourceTypeDef):
                    raise self.malformed("a resource is defined in a type", start)
                declarations.append(definition)
            elif kind == 0x02:
                declarations.append(self.alias())
            elif kind == 0x03 and imports:
                declarations.append(ImportDecl(self.extern_name(), self.declared()))
            elif kind == 0x04:
                declarations.append(ExportDecl(self.extern_name(), self.declared()))
            else:
                raise self.malformed(f"unknown type declaration {kind:#04x}", start)
        return tuple(declarations)

    def core_types(self) -> list[CoreTypeDefinition]:
        """Read a ``core:type``, which defines several types if it is a recursion group."""
        count = skip_core_type(self)
        self.define(Sort.CORE_TYPE, count)
        return [CoreTypeDefinition()] * count

    # ---- types of imports and exports --------------------------------------------------------------------

    def declared(self) -> ExternType:
        """Read an ``externtype`` and add an entry to its index space."""
        type_ = self.extern_type()
        self.define(type_.sort)
        return type_

    def extern_type(self) -> ExternType:
        start = self.position
        sort = self.sort()
        if sort is Sort.CORE_MODULE:
            return ExternType(sort, self.index(Sort.CORE_TYPE))
        if sort not in INSTANCE_SORTS:
            raise self.malformed(f"a {sort.value} cannot be imported or exported", start)
        if sort is Sort.TYPE and self.flag("bound of a type"):
            return ExternType(sort, None, TypeBound.SUB_RESOURCE)
        return ExternType(sort, self.index(Sort.TYPE), TypeBound.EQ if sort is Sort.TYPE else None)
