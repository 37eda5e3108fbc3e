"""Finds the core modules of a component that can be merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._plan import CoreExport, CoreItem, InstantiateModule, Plan
from wasi_trio.component._reader import Reader
from wasi_trio.component._sorts import Sort
from wasi_trio.component._wasm import sections
from wasi_trio.component.merging._modules import (
    CUSTOM,
    IMPORT,
    KNOWN_SECTIONS,
    MEM,
    MEMORY,
    PREAMBLE,
    START,
    Unmergeable,
    described,
)

#: The locations of the exports of original core instances: the slot of the merged one, and the prefix of their names.
Locations = Mapping[int, tuple[int, str]]


def groups(plan: Plan) -> list[list[InstantiateModule]]:
    """Return the steps of a plan whose modules can be merged, in groups of at least two."""
    uses = Counter(step.module for step in plan.steps)
    found: list[list[InstantiateModule]] = []
    group: list[InstantiateModule] = []
    memories = 0
    for step in plan.steps:
        traits = _traits(plan, step) if uses[step.module] == 1 else None
        outside = set() if traits is None else traits.outside(group)
        joins = (
            traits is not None
            and bool(group)
            and group[0].part == step.part
            and memories + traits.memories + len(outside) <= 1
        )
        if not joins:
            found.append(group)
            group, memories = [], 0
        if traits is None:
            continue
        group.append(step)
        memories += traits.memories + len(traits.outside(group[:-1]))
    found.append(group)
    return [group for group in found if len(group) > 1]


def locations(found: Iterable[Sequence[InstantiateModule]]) -> Locations:
    """Return the future locations of the exports of the core instances in these groups."""
    return {step.slot: (group[0].slot, f"{step.slot}:") for group in found for step in group}


@dataclass(frozen=True, slots=True)
class _Traits:
    """The properties that decide whether a module may join a group."""

    memories: int
    #: The memories that it imports.
    imported: frozenset[CoreItem]

    def outside(self, group: Sequence[InstantiateModule]) -> set[CoreItem]:
        slots = {step.slot for step in group}
        return {item for item in self.imported if not isinstance(item, CoreExport) or item.slot not in slots}


def _traits(plan: Plan, step: InstantiateModule) -> _Traits | None:
    """Return the properties of a module, or None if it cannot be merged, as far as known without its code."""
    memories = 0
    imported: set[CoreItem] = set()
    try:
        for identifier, content in sections(plan.modules[step.module][len(PREAMBLE) :]):
            if identifier not in KNOWN_SECTIONS or identifier == START:
                return None
            if identifier == CUSTOM and Reader(bytes(content[:64])).raw_name("name").startswith(".debug_"):
                return None
            if identifier == MEMORY:
                memories += Reader(bytes(content)).count("memories")
            elif identifier == IMPORT:
                reader = Reader(bytes(content))
                for _ in range(reader.count("imports")):
                    module, name = reader.raw_name("import module name"), reader.raw_name("import name")
                    kind, _ = described(reader)
                    if kind == MEM:
                        imported.add(step.args[module].item(name, Sort.CORE_MEMORY))
    except (MalformedComponent, Unmergeable):
        return None
    return _Traits(memories, frozenset(imported))
