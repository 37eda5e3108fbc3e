"""Configures wasmtime's compiler.

This module needs no event loop and no state of running guests, because the process that compiles untrusted components
(``_compiler_process.py``) has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from wasi_trio.component import _features as features
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._plan import Plan
from wasi_trio.component._wiring import Wiring
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime import _wasmtime as wasmtime
from wasi_trio.runtime._wasmtime import CoreModule, WasmEngine, WasmtimeError

#: The features of the modules that wasmtime generates to join components.
_JOINING = frozenset({"multi-memory"})

#: A callback with the number of bytes of core modules that are compiled, and their total.
Progress = Callable[[int, int], None]


class Compiler:
    """wasmtime's compiler, configured for our engines.

    ``cache`` makes wasmtime store compiled code on disk. ``admitted`` names features to enable beside those for all
    guests. See ``wasi_trio.component._features``. Raises ValueError for an unknown feature. ``reservation`` is the
    address space for each memory, on which the code depends; the default follows from the process's limit.
    ``profiler`` is the format in which wasmtime describes its code: ``perfmap`` or ``jitdump``.
    """

    def __init__(
        self, cache: bool, admitted: Collection[str], reservation: int | None = None, profiler: str | None = None
    ) -> None:
        self.cache = cache
        self.reservation = address_space.reservation() if reservation is None else reservation
        self.features = features.closure(admitted)
        self.wasmtime = WasmEngine(self.features, self.reservation, cache=cache, profiler=profiler)

    @cached_property
    def _validator(self) -> WasmEngine:
        """An engine with the features that wasmtime needs to join components. It aborts without multi-memory.

        This does not enable the features for core modules, because ``compile`` validates those.
        """
        return WasmEngine(self.features | _JOINING, self.reservation, cache=self.cache)

    def validate(self, skeleton: bytes) -> None:
        """Validate a component without the code of its core modules (``component._skeleton``).

        Raises MalformedComponent with a message that says what is wrong.
        """
        try:
            wasmtime.validate_component(self._validator, skeleton)
        except WasmtimeError as error:
            raise MalformedComponent(_one_line(str(error))) from None

    def compile(self, code: bytes) -> CoreModule:
        """Compile a core module. Raises MalformedComponent if it is invalid."""
        try:
            return CoreModule.compile(self.wasmtime, code)
        except WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None

    def check(self, code: bytes | memoryview) -> None:
        """Raise MalformedComponent if a core module is invalid."""
        try:
            wasmtime.validate_module(self.wasmtime, bytes(code))
        except WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None

    def load(self, serialized: bytes) -> CoreModule:
        """Load a serialized module from a compiler with the same features. The bytes must be trusted."""
        return CoreModule.deserialize(self.wasmtime, serialized)

    def missing_features(self, skeleton: bytes, codes: Sequence[bytes]) -> list[str]:
        """Return the features that an invalid component requires, or none if it is invalid with all of them.

        ``codes`` are its core modules, which are only validated here.
        """

        def valid_modules(names: frozenset[str]) -> bool:
            engine = WasmEngine(self.features | names, self.reservation)
            return all(_accepts(wasmtime.validate_module, engine, code) for code in codes)

        def valid_component(names: frozenset[str]) -> bool:
            engine = WasmEngine(self.features | names | _JOINING, self.reservation)
            return _accepts(wasmtime.validate_component, engine, skeleton)

        found = _smallest([f.name for f in features.CORE if f.name not in self.features], valid_modules)
        return found or _smallest([f.name for f in features.MODEL if f.name not in self.features], valid_component)


class CompiledStep(NamedTuple):
    """A step of a plan: its module, the module's wiring, and the size of its WebAssembly code in bytes.

    ``code`` is that WebAssembly code, or empty if it is not loaded.
    """

    module: CoreModule
    wiring: Wiring
    size: int
    code: bytes = b""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A component's plan, and the steps with their core modules.

    ``modules`` maps digests of code to modules, including modules that no step instantiates. It is empty if the
    component was compiled before.
    """

    plan: Plan
    steps: list[CompiledStep]
    modules: dict[bytes, CoreModule] = field(default_factory=dict)
    #: The total size in bytes of those modules' WebAssembly code.
    size: int = 0


def assemble(text: bytes) -> bytes:
    """Assemble WebAssembly text. Raises MalformedComponent whose message lists all faults in several lines."""
    try:
        return wasmtime.assemble(text)
    except WasmtimeError as error:
        raise MalformedComponent(str(error).strip()) from None


def _accepts(validate: Callable[[WasmEngine, bytes], None], engine: WasmEngine, content: bytes) -> bool:
    try:
        validate(engine, content)
    except WasmtimeError:
        return False
    return True


def _smallest(names: Sequence[str], enough: Callable[[frozenset[str]], bool]) -> list[str]:
    """Return a minimal set of features that is enough. It is empty if none are needed, or if all are not enough."""
    needed = frozenset(names)
    if enough(frozenset()) or not enough(needed):
        return []
    for name in names:
        if enough(needed - {name}):
            needed -= {name}
    implied = {other for name in needed for other in features.closure([name]) if other != name}
    return [name for name in names if name in needed - implied]


def _one_line(message: str) -> str:
    """Return wasmtime's message and its causes as one line."""
    lines = [line.strip() for line in message.splitlines()]
    return ": ".join(line.removeprefix("0: ") for line in lines if line and line != "Caused by:")
