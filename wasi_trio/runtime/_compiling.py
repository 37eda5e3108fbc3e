"""Compiles a component's bytes to core modules, and a plan for their instantiation.

A process that finds the component among the kept ones (``_kept_code.py``) never imports this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from wasi_trio.component import _definitions as d
from wasi_trio.component import _features as features
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import MalformedComponent, Unsupported
from wasi_trio.component._plan import Plan
from wasi_trio.component._planning import plan
from wasi_trio.component._relink import Relinked, relink
from wasi_trio.component._skeleton import skeleton
from wasi_trio.component.merging import groups, locations, merge
from wasi_trio.runtime._compiler import Compiled, CompiledStep, Compiler, Progress
from wasi_trio.runtime._wasmtime import CoreModule


def compile_component(
    compiler: Compiler, data: bytes, progress: Progress | None = None, ready: Mapping[bytes, bytes] | None = None
) -> Compiled:
    """Validate a component and compile its core modules. Raises MalformedComponent, Unsupported or LinkError.

    ``ready`` means that the component was compiled before without a fault. Then it is not validated again. ``ready``
    maps the ``digest`` of code to serialized modules, which are not compiled again.
    """
    definitions = decode(data)  # first, because its messages identify inputs that are not components
    with _naming_features(compiler, data, definitions):
        if ready is None:
            compiler.validate(skeleton(data))
        made = plan(definitions)
        used = set(map(id, made.modules))
        made, relinked = _relinked(compiler, definitions, made, ready)
        # Modules that nothing instantiates must be valid too, and compiling validates them.
        unused = [bytes(code) for code in _core_modules(definitions) if id(code) not in used]
        codes = list(dict.fromkeys([*(step.code for step in relinked), *unused]))
        modules = dict(_modules(compiler, codes, progress, ready or {}))
        steps = [CompiledStep(modules[step.code], step.wiring, len(step.code), step.code) for step in relinked]
        return Compiled(made, steps, {digest(code): module for code, module in modules.items()}, sum(map(len, codes)))


def _relinked(
    compiler: Compiler, definitions: d.Component, made: Plan, ready: Mapping[bytes, bytes] | None
) -> tuple[Plan, list[Relinked]]:
    """Relink the modules of a plan, merged if wasmtime accepts the merged modules. Return the plan of these modules."""
    found = groups(made)
    if found:
        if ready is None:
            for group in found:
                for step in group:
                    compiler.check(made.modules[step.module])
        merged = plan(definitions, locations(found))
        if merge(merged, found):
            relinked = relink(merged)
            if _accepted(compiler, relinked, ready):
                return merged, relinked
    return made, relink(made)


def _accepted(compiler: Compiler, relinked: Sequence[Relinked], ready: Mapping[bytes, bytes] | None) -> bool:
    """Return whether modules are valid. Together the modules of a group may exceed a limit, such as that of tables."""
    if ready:  # the process that compiled them has validated them
        return all(digest(step.code) in ready for step in relinked)
    try:
        for step in relinked:
            compiler.check(step.code)
    except MalformedComponent:
        return False
    return True


def validate_component(compiler: Compiler, data: bytes) -> None:
    """Validate a component without the code of its modules. Raises MalformedComponent or Unsupported."""
    with _naming_features(compiler, data, decode(data)):
        compiler.validate(skeleton(data))


@contextmanager
def _naming_features(compiler: Compiler, data: bytes, definitions: d.Component) -> Iterator[None]:
    """Raise Unsupported in place of MalformedComponent if more features would make the component valid."""
    try:
        yield
    except MalformedComponent:
        missing = compiler.missing_features(skeleton(data), [bytes(code) for code in _core_modules(definitions)])
        if not missing:
            raise
        raise Unsupported(features.refusal(missing)) from None


def digest(code: bytes) -> bytes:
    """Return the key of a core module among compiled modules."""
    return hashlib.sha256(code).digest()


def _modules(
    compiler: Compiler, codes: Iterable[bytes], progress: Progress | None, ready: Mapping[bytes, bytes]
) -> Iterator[tuple[bytes, CoreModule]]:
    codes = list(codes)
    total = sum(map(len, codes))
    done = 0
    for code in codes:
        if progress is not None:
            progress(done, total)
        serialized = ready.get(digest(code)) if ready else None
        yield code, compiler.compile(code) if serialized is None else compiler.load(serialized)
        done += len(code)
    if progress is not None:
        progress(done, total)


def _core_modules(component: d.Component) -> Iterator[memoryview]:
    """Yield the code of all core modules in a component, including nested components."""
    for definition in component.definitions:
        if isinstance(definition, d.CoreModule):
            yield definition.code
        elif isinstance(definition, d.Component):
            yield from _core_modules(definition)
