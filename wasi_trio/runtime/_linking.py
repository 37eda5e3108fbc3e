"""Compiled components as plain data: their plan and the wiring of their modules, without the modules themselves.

The compiler process sends a component in this form, and ``_kept_code`` stores it. So a process that serves a component
neither decodes nor plans it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wasi_trio.component._packed_plan import pack, unpack
from wasi_trio.runtime._compiler import Compiled, CompiledStep
from wasi_trio.runtime._wasmtime import CoreModule


def describe(compiled: Compiled, modules: Iterable[CoreModule]) -> dict[str, Any]:
    """Describe a compiled component as JSON-compatible data. It refers to its modules by their position in ``modules``.

    Raises RecursionError if its types are nested too deeply.
    """
    numbers = {id(module): number for number, module in enumerate(modules)}
    return {
        "plan": pack(compiled.plan, [step.wiring for step in compiled.steps]),
        "steps": [(numbers[id(step.module)], step.size) for step in compiled.steps],
        "size": compiled.size,
    }


def restore(description: Mapping[str, Any], modules: Sequence[CoreModule]) -> Compiled:
    """Return the component of a description. Raises ValueError, TypeError, LookupError or RecursionError for others."""
    plan, wiring = unpack(description["plan"])
    steps = [
        CompiledStep(modules[number], wired, size)
        for wired, (number, size) in zip(wiring, description["steps"], strict=True)
    ]
    return Compiled(plan, steps, size=int(description["size"]))
