"""Core modules made ready to be linked with one call for each instance instead of one for each import.

A component wires its core modules item by item, through instances it makes up for the purpose; a large one has
thousands of items. All that is known from the plan. So each module gets its imports renamed to say where they come
from (the slot of a core instance, or a canonical definition), and loses the exports that nothing asks for: then whole
core instances can be put into wasmtime's linker, which does the rest. It exports the memories and tables that it
defines besides, so that their sizes can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from wasi_trio.component._bulk import sliced
from wasi_trio.component._core_types import memory_minimum, skip_extern_type
from wasi_trio.component._definitions import Sort
from wasi_trio.component._errors import Unsupported
from wasi_trio.component._plan import CanonFunc, CoreExport, CoreItem, InstantiateModule, Options, Plan, ResourceBuiltin
from wasi_trio.component._reader import Reader
from wasi_trio.component._wasm import name as encode_name
from wasi_trio.component._wasm import section, sections, unsigned

#: the import module name of everything that canonical definitions make
CANON = "canon"

#: bytes that the core modules of one component may come to, each counted for every instance that is made of it: an
#: instance's imports say from where they come, so that instances share code only where they are linked alike
MAX_CODE = 512 << 20
#: imports of all these instances
MAX_IMPORTS = 1_000_000

_PREAMBLE = 8
_IMPORT, _TABLE, _MEMORY, _EXPORT = 2, 4, 5, 7
#: the sections that come after that of the exports
_AFTER_EXPORTS = frozenset((8, 9, 10, 11, 12))
_SORTS = (Sort.CORE_FUNC, Sort.CORE_TABLE, Sort.CORE_MEMORY, Sort.CORE_GLOBAL, Sort.CORE_TAG)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a relinked module imports, and by which of its exports the host finds what it defines.

    A ``CoreExport`` is imported from the module that ``slot_name`` gives, under its own name, a ``CanonFunc`` from
    ``CANON`` under its number.
    """

    imports: tuple[CoreItem, ...]
    #: the exports by which the memories and the tables that it defines are found
    memories: tuple[bytes, ...]
    tables: tuple[bytes, ...]
    #: bytes that its memories have at first
    memory_size: int


@dataclass(frozen=True, slots=True)
class Relinked:
    """What to compile for one core instantiation."""

    code: bytes
    wiring: Wiring


def slot_name(slot: int) -> str:
    """The import module name of what the core instance in a slot exports."""
    return str(slot)


def relink(plan: Plan) -> list[Relinked]:
    """A module for each step of a plan, in order; equal ones are equal bytes.

    Raises Unsupported where that comes to more than can be kept.
    """
    if sum(len(plan.modules[step.module]) for step in plan.steps) > MAX_CODE:
        raise Unsupported(f"the instances of the component's core modules come to more than {MAX_CODE >> 20} MiB")
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
    """The core items that lifting, lowering and destructors reach for."""
    items: list[CoreItem | None] = [*plan.destructors.values(), *(lifted.core for lifted in plan.lifted)]
    options: list[Options] = [lifted.options for lifted in plan.lifted]
    options += [canon.options for canon in plan.canons if not isinstance(canon, ResourceBuiltin)]
    for option in options:
        items += (option.memory, option.realloc, option.post_return, option.callback)
    return [item for item in items if item is not None]


def _imports(plan: Plan, step: InstantiateModule) -> list[tuple[CoreItem, bytes]]:
    """What a step's module imports, and of each import the bytes that follow its names."""
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
