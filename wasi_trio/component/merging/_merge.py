"""Makes one core module of a group."""

from __future__ import annotations

from collections.abc import Sequence

from wasi_trio.component._core_types import skip_limits
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._plan import CoreExport, CoreInstance, CoreItem, InstantiateModule, Plan
from wasi_trio.component._reader import Reader
from wasi_trio.component._sorts import Sort
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import read_unsigned, sections, unsigned
from wasi_trio.component.merging._constants import constant
from wasi_trio.component.merging._instructions import Instructions, renumber
from wasi_trio.component.merging._modules import (
    CODE,
    DATA,
    ELEMENT,
    END,
    EXPORT,
    FUNC,
    FUNCTION,
    GLOB,
    GLOBAL,
    IMPORT,
    KINDS,
    MEM,
    MEMORY,
    PREAMBLE,
    REF_FUNC,
    REFERENCE_TYPES,
    TAB,
    TABLE,
    TYPE,
    VALUE_TYPES,
    Merged,
    Module,
    Unmergeable,
    described,
    read_number,
)
from wasi_trio.component.merging._names import add_names, module_name

#: The merged module's only import module.
_OUTSIDE = "outside"


def merge(plan: Plan, found: Sequence[Sequence[InstantiateModule]]) -> bool:
    """Replace each group's steps by one with the merged module. Return whether that was possible.

    ``plan`` must have been made with the ``locations`` of these groups. All of their modules must be valid.
    """
    merged: dict[int, InstantiateModule] = {}
    modules = list(plan.modules)
    by_slot = {step.slot: step for step in plan.steps}
    try:
        for group in found:
            code, items = _merge([by_slot[step.slot] for step in group], plan.modules)
            first = group[0]
            arguments = {str(number): (kind, item) for number, (kind, item) in enumerate(items)}
            given = {_OUTSIDE: CoreInstance(None, arguments)}
            merged[first.slot] = InstantiateModule(first.slot, first.part, len(modules), given)
            modules.append(memoryview(code))
    except (Unmergeable, MalformedComponent):
        return False
    gone = {step.slot for group in found for step in group[1:]}
    plan.steps[:] = [merged.get(step.slot, step) for step in plan.steps if step.slot not in gone]
    # A merged module's parts are compiled only as parts of it.
    kept = {step.module: number for number, step in enumerate({step.module: step for step in plan.steps}.values())}
    plan.modules[:] = [modules[module] for module in kept]
    plan.steps[:] = [InstantiateModule(s.slot, s.part, kept[s.module], s.args) for s in plan.steps]
    return True


def _merge(
    group: Sequence[InstantiateModule], codes: Sequence[memoryview]
) -> tuple[bytes, list[tuple[Sort, CoreItem]]]:
    """Return a group's merged module and its imports, in order."""
    merged = Merged()
    modules = [Module(step, sections(codes[step.module][len(PREAMBLE) :])) for step in group]
    merged.module_name = module_name(max(modules, key=lambda module: len(codes[module.step.module])))
    outside = _number_items(modules, merged)
    for module in modules:
        _add_definitions(module, merged)
    for module in modules:
        _add_segments(module, merged)
    for module in modules:
        _add_code(module, merged)
        add_names(module, merged)
    return merged.code(), outside


def _number_items(modules: Sequence[Module], merged: Merged) -> list[tuple[Sort, CoreItem]]:
    """Fill the modules' maps and exports, and the merged types and imports."""
    slot = modules[0].step.slot
    outside: dict[tuple[int, CoreItem], int] = {}
    listed: list[tuple[Sort, CoreItem]] = []
    counts = [0, 0, 0, 0]
    #: The imports of each module: the number of an import from outside, or an export of another module.
    found: list[list[tuple[int, int | CoreExport]]] = []
    for module in modules:
        module.types = len(merged.types)
        merged.types += _types(module)
        imports: list[tuple[int, int | CoreExport]] = []
        found.append(imports)
        reader = module.reader(IMPORT)
        for _ in range(0 if reader is None else reader.count("imports")):
            assert reader is not None
            source, name = reader.raw_name("import module name"), reader.raw_name("import name")
            kind, type_ = described(reader)
            item = module.step.args[source].item(name, KINDS[kind])
            if isinstance(item, CoreExport) and item.slot == slot:
                imports.append((kind, item))
                continue
            index = outside.get((kind, item))
            if index is None:
                index = outside[kind, item] = counts[kind]
                counts[kind] += 1
                if kind == FUNC:
                    type_ = unsigned(module.types + read_unsigned(memoryview(type_), 0)[0])
                elif kind == GLOB:
                    constant = type_[1] == 0
                    merged.values.append(b"\x23" + unsigned(index) if constant else None)
                name = str(len(listed))
                merged.imports.append(encode_name(_OUTSIDE) + encode_name(name) + bytes((kind,)) + type_)
                listed.append((KINDS[kind], item))
            imports.append((kind, index))
    exported: dict[str, tuple[int, int]] = {}
    for module, imports in zip(modules, found, strict=True):
        for kind, import_ in imports:
            if isinstance(import_, CoreExport):
                import_kind, index = exported[import_.name]
                assert import_kind == kind
                module.maps[kind].append(index)
            else:
                module.maps[kind].append(import_)
        for kind, identifier in ((FUNC, FUNCTION), (TAB, TABLE), (MEM, MEMORY), (GLOB, GLOBAL)):
            reader = module.reader(identifier)
            count = 0 if reader is None else reader.count("definitions")
            module.maps[kind].extend(range(counts[kind], counts[kind] + count))
            counts[kind] += count
        reader = module.reader(EXPORT)
        for _ in range(0 if reader is None else reader.count("exports")):
            assert reader is not None
            name = reader.raw_name("export name")
            kind, index = reader.byte("kind of an export"), reader.u32("index")
            exported[f"{module.step.slot}:{name}"] = kind, module.maps[kind][index]
    merged.exports = [encode_name(name) + bytes((kind,)) + unsigned(index) for name, (kind, index) in exported.items()]
    return listed


def _types(module: Module) -> list[bytes]:
    reader = module.reader(TYPE)
    types = []
    for _ in range(0 if reader is None else reader.count("types")):
        assert reader is not None
        start = reader.position
        if reader.byte("type") != 0x60:
            raise Unmergeable
        for _ in range(2):
            for _ in range(reader.count("value types")):
                if reader.byte("value type") not in VALUE_TYPES:
                    raise Unmergeable
        types.append(reader.data[start : reader.position])
    return types


def _add_definitions(module: Module, merged: Merged) -> None:
    reader = module.reader(FUNCTION)
    if reader is not None:
        for _ in range(reader.count("functions")):
            merged.functions.append(unsigned(module.types + reader.u32("type index")))
    for identifier, entries in ((TABLE, merged.tables), (MEMORY, merged.memories)):
        reader = module.reader(identifier)
        for _ in range(0 if reader is None else reader.count("definitions")):
            assert reader is not None
            start = reader.position
            if identifier == TABLE and reader.byte("reference type") not in REFERENCE_TYPES:
                raise Unmergeable
            skip_limits(reader)
            entries.append(reader.data[start : reader.position])
    reader = module.reader(GLOBAL)
    if reader is not None:
        for _ in range(reader.count("globals")):
            start = reader.position
            if reader.byte("value type") not in VALUE_TYPES:
                raise Unmergeable
            fixed = reader.byte("mutability") == 0
            type_ = reader.data[start : reader.position]
            expression = constant(reader, module, merged)
            merged.values.append(expression if fixed else None)
            merged.globals.append(type_ + expression + END)


def _add_segments(module: Module, merged: Merged) -> None:
    module.elements, module.data = len(merged.elements), len(merged.data)
    reader = module.reader(ELEMENT)
    if reader is not None:
        merged.elements += [_element_segment(reader, module, merged) for _ in range(reader.count("segments"))]
    reader = module.reader(DATA)
    if reader is not None:
        for _ in range(reader.count("segments")):
            kind = reader.byte("kind of a segment")
            if kind == 2 and reader.u32("memory index") != 0:
                raise Unmergeable
            place = b"\x01" if kind == 1 else b"\x00" + constant(reader, module, merged) + END
            size = reader.u32("size of a segment")
            start = reader.position
            reader.position += size
            merged.data.append(place + unsigned(size) + reader.data[start : reader.position])


def _element_segment(reader: Reader, module: Module, merged: Merged) -> bytes:
    kind = reader.byte("kind of a segment")
    if kind > 7:
        raise Unmergeable
    as_expressions, explicit, inactive = kind & 4, kind & 2, kind & 1
    head = b""
    if not inactive:
        table = module.maps[TAB][reader.u32("table index") if explicit else 0]
        head = unsigned(table) + constant(reader, module, merged) + END
    type_ = 0x70
    if explicit or inactive:
        given = reader.byte("type of a segment's elements")
        type_ = given if as_expressions else 0x70
        if type_ not in REFERENCE_TYPES:
            raise Unmergeable
    count = reader.count("elements")
    form = bytes((inactive if inactive and not explicit else 2 | inactive,))
    if not as_expressions:
        functions = [unsigned(module.maps[FUNC][reader.u32("function index")]) for _ in range(count)]
    else:
        expressions = [constant(reader, module, merged) for _ in range(count)]
        # wasmtime prepares tables only from segments that list functions.
        if type_ != 0x70 or not all(expression[0] == REF_FUNC for expression in expressions):
            form = bytes((form[0] | 4,))
            return form + head + bytes((type_,)) + unsigned(count) + b"".join(e + END for e in expressions)
        functions = [expression[1:] for expression in expressions]
    return form + head + b"\x00" + unsigned(count) + b"".join(functions)


def _add_code(module: Module, merged: Merged) -> None:
    content = module.content(CODE)
    if content is None:
        return
    known = Instructions(module, merged.referenced)
    count, at = read_number(content, 0)
    for _ in range(count):
        size, at = read_number(content, at)
        body = renumber(content, at, at + size, known)
        merged.bodies.append(unsigned(len(body)) + body)
        at += size
