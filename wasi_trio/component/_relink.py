"""Prepares core modules to be linked with one call for each instance instead of one for each import.

A component wires its core modules item by item, through instances created for that purpose, and a large component has
thousands of items. The plan knows all of them. So this module renames the imports of each core module to their source:
the slot of a core instance, or a canonical definition. It removes unused exports. Then the host can put whole core
instances into wasmtime's linker, which does the rest. This module also exports all memories and tables that a core
module defines, so that the host can measure them.
"""

from __future__ import annotations

from dataclasses import dataclass

from wasi_trio.component._bulk import sliced
from wasi_trio.component._core_types import memory_minimum, skip_extern_type
from wasi_trio.component._errors import Unsupported
from wasi_trio.component._plan import CanonFunc, CoreExport, CoreItem, InstantiateModule, Options, Plan, ResourceBuiltin
from wasi_trio.component._reader import Reader
from wasi_trio.component._sorts import Sort
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import section, sections, unsigned
from wasi_trio.component._wiring import CANON, Wiring, slot_name

#: Maximum size in bytes of one component's core modules, each counted for every instance. An instance's imports depend
#: on its sources, so instances share code only if they are linked alike.
MAX_CODE = 512 << 20
#: Maximum number of imports of all these instances.
MAX_IMPORTS = 1_000_000

_PREAMBLE = 8
_IMPORT, _TABLE, _MEMORY, _EXPORT = 2, 4, 5, 7
#: The sections after the export section.
_AFTER_EXPORTS = frozenset((8, 9, 10, 11, 12))
_SORTS = (Sort.CORE_FUNC, Sort.CORE_TABLE, Sort.CORE_MEMORY, Sort.CORE_GLOBAL, Sort.CORE_TAG)


@dataclass(frozen=True, slots=True)
class Relinked:
    """A core module to compile for one core instantiation."""

    code: bytes
    wiring: Wiring


def relink(plan: Plan) -> list[Relinked]:
    """Return a module for each step of a plan, in order. Equal modules are equal bytes.

    Raises Unsupported if the modules exceed MAX_CODE or MAX_IMPORTS.
    """
    if sum(len(plan.modules[step.module]) for step in plan.steps) > MAX_CODE:
        raise Unsupported(f"the instances of the component's core modules have more than {MAX_CODE >> 20} MiB")
    found: list[list[tuple[CoreItem, bytes]]] = []
    total = 0
    for step in plan.steps:
        found.append(_imports(plan, step))
        total += len(found[-1])
        if total > MAX_IMPORTS:
            raise Unsupported(f"the instances of the component's core modules have more than {MAX_IMPORTS} imports")
    used: dict[int, set[str]] = {step.slot: set() for step in plan.steps}
    items = [item for imports in found for item, _ in imports]
    for item in (*items, *_used_by_host(plan)):
        if isinstance(item, CoreExport):
            used[item.slot].add(item.name)
    return [
        _rewrite(plan.modules[step.module], imports, used[step.slot])
        for step, imports in zip(plan.steps, found, strict=True)
    ]


def _used_by_host(plan: Plan) -> list[CoreItem]:
    """Return the core items that lifting, lowering and destructors use."""
    items: list[CoreItem | None] = [*plan.destructors.values(), *(lifted.core for lifted in plan.lifted)]
    options: list[Options] = [lifted.options for lifted in plan.lifted]
    options += [canon.options for canon in plan.canons if not isinstance(canon, ResourceBuiltin)]
    for option in options:
        items += (option.memory, option.realloc, option.post_return, option.callback)
    return [item for item in items if item is not None]


def _imports(plan: Plan, step: InstantiateModule) -> list[tuple[CoreItem, bytes]]:
    """Return the imports of a step's module, each with the bytes after its names."""
    code = plan.modules[step.module]
    imports: list[tuple[CoreItem, bytes]] = []
    for identifier, content in sections(code[_PREAMBLE:]):
        if identifier != _IMPORT:
            continue
        reader = Reader(bytes(content))
        for _ in range(reader.count("imports")):
            module, name = reader.raw_name("import module name"), reader.raw_name("import name")
            start = reader.position
            skip_extern_type(reader)
            described = content[start : reader.position]
            item = step.args[module].item(name, _SORTS[described[0]])
            imports.append((item, bytes(described)))
    return imports


def _rewrite(code: memoryview, imports: list[tuple[CoreItem, bytes]], used: set[str]) -> Relinked:
    parts = [bytes(code[:_PREAMBLE])]
    defined: dict[int, list[bytes]] = {_MEMORY: [], _TABLE: []}
    exports: list[bytes] | None = []
    memory_size = 0
    for identifier, content in sections(code[_PREAMBLE:]):
        if exports is not None and identifier in _AFTER_EXPORTS:
            parts.append(_export_section(exports))
            exports = None
        if identifier == _IMPORT:
            entries = [_names(item) + described for item, described in imports]
            parts.append(section(identifier, unsigned(len(entries)) + b"".join(entries)))
            continue
        if identifier == _EXPORT and exports is not None:
            parts.append(_export_section([*exports, *_kept_exports(content, used)]))
            exports = None
            continue
        if identifier in defined and exports is not None:
            sort = identifier - 3
            first = sum(described[0] == sort for _, described in imports)
            reader = Reader(bytes(content))
            for index in range(first, first + reader.count("definitions")):
                if identifier == _MEMORY:
                    memory_size += memory_minimum(reader)
                name = f"wasi-trio:{'memory' if identifier == _MEMORY else 'table'}-{index}"
                defined[identifier].append(name.encode())
                exports.append(encode_name(name) + bytes((sort,)) + unsigned(index))
        parts.append(section(identifier, content))
    if exports is not None:
        parts.append(_export_section(exports))
    found = tuple(item for item, _ in imports)
    rewritten = sliced(b"".join(parts))
    return Relinked(rewritten, Wiring(found, tuple(defined[_MEMORY]), tuple(defined[_TABLE]), memory_size))


def _export_section(entries: list[bytes]) -> bytes:
    return section(_EXPORT, unsigned(len(entries)) + b"".join(entries)) if entries else b""


def _names(item: CoreItem) -> bytes:
    if isinstance(item, CanonFunc):
        return encode_name(CANON) + encode_name(str(item.index))
    return encode_name(slot_name(item.slot)) + encode_name(item.name)


def _kept_exports(content: memoryview, used: set[str]) -> list[bytes]:
    reader = Reader(bytes(content))
    kept = []
    for _ in range(reader.count("exports")):
        start = reader.position
        name = reader.raw_name("export name")
        reader.byte("sort of an export")
        reader.u32("index of an export")
        if name in used:
            kept.append(bytes(content[start : reader.position]))
    return kept
