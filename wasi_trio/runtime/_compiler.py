"""Configures wasmtime's compiler.

This module needs no event loop and no state of running guests, because the process that compiles untrusted components
(``_compiler_process.py``) has neither.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import wasmtime

from wasi_trio.component import _features as features
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._plan import Plan
from wasi_trio.component._wiring import Wiring
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._code_cache import cache_configuration

#: Bytes of machine stack for a guest call and its host functions. With wasmtime's default of 2 MiB, a host callback
#: that recurses through C code can overflow it before Python raises RecursionError.
FIBER_STACK = 8 << 20

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
        configuration = _configuration(cache, self.features, self.reservation)
        if profiler is not None:
            configuration.profiler = profiler
        self.wasmtime = wasmtime.Engine(configuration)

    @cached_property
    def _validator(self) -> wasmtime.Engine:
        """An engine with the features that wasmtime needs to join components. It aborts without multi-memory.

        This does not enable the features for core modules, because ``compile`` validates those.
        """
        return wasmtime.Engine(_configuration(self.cache, self.features | _JOINING, self.reservation))

    def validate(self, skeleton: bytes) -> None:
        """Validate a component without the code of its core modules (``component._skeleton``).

        Raises MalformedComponent with a message that says what is wrong.
        """
        from wasmtime.component import Component  # large, and not needed for components that were validated before

        try:
            Component(self._validator, skeleton).close()
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(_one_line(str(error))) from None

    def compile(self, code: bytes) -> wasmtime.Module:
        """Compile a core module. Raises MalformedComponent if it is invalid."""
        try:
            return wasmtime.Module(self.wasmtime, code)
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None

    def check(self, code: bytes | memoryview) -> None:
        """Raise MalformedComponent if a core module is invalid."""
        try:
            wasmtime.Module.validate(self.wasmtime, bytes(code))
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None

    def load(self, serialized: bytes) -> wasmtime.Module:
        """Load a serialized module from a compiler with the same features. The bytes must be trusted."""
        return wasmtime.Module.deserialize(self.wasmtime, serialized)

    def missing_features(self, skeleton: bytes, codes: Sequence[bytes]) -> list[str]:
        """Return the features that an invalid component requires, or none if it is invalid with all of them.

        ``codes`` are its core modules, which are only validated here.
        """
        from wasmtime.component import Component

        def valid_modules(names: frozenset[str]) -> bool:
            engine = _engine(self.features | names)
            return engine is not None and all(_is_valid(engine, code) for code in codes)

        def valid_component(names: frozenset[str]) -> bool:
            engine = _engine(self.features | names | _JOINING)
            if engine is None:
                return False
            try:
                Component(engine, skeleton).close()
            except wasmtime.WasmtimeError:
                return False
            return True

        found = _smallest([f.name for f in features.CORE if f.name not in self.features], valid_modules)
        return found or _smallest([f.name for f in features.MODEL if f.name not in self.features], valid_component)


class CompiledStep(NamedTuple):
    """A step of a plan: its module, the module's wiring, and the size of its WebAssembly code in bytes.

    ``code`` is that WebAssembly code, or empty if it is not loaded.
    """

    module: wasmtime.Module
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
    modules: dict[bytes, wasmtime.Module] = field(default_factory=dict)
    #: The total size in bytes of those modules' WebAssembly code.
    size: int = 0


def assemble(text: bytes) -> bytes:
    """Assemble WebAssembly text. Raises MalformedComponent whose message lists all faults in several lines."""
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise MalformedComponent(str(error).strip()) from None


# ---- wasmtime's configuration ----------------------------------------------------------------------------


def _configuration(cache: bool, admitted: frozenset[str], reservation: int) -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.memory_may_move = False
    config.memory_reservation = reservation
    if reservation != address_space.FULL_RESERVATION:
        config.memory_guard_size = address_space.SMALL_GUARD
    # Guests run on one thread, so they have no use for shared memories.
    config.shared_memory = False
    if cache:
        configuration = cache_configuration()
        config.cache = True if configuration is None else str(configuration)
    pointer = ctypes.cast(config.ptr(), ctypes.c_void_p)
    ffi.async_stack_size_set(pointer, FIBER_STACK)
    for feature in (*features.CORE, *features.MODEL):
        ffi.config_features[feature.name](pointer, feature.name in admitted)
    return config


def _engine(admitted: Collection[str]) -> wasmtime.Engine | None:
    """Return an engine to test features with, or None if wasmtime does not support the combination."""
    try:
        return wasmtime.Engine(_configuration(False, frozenset(admitted), address_space.reservation()))
    except wasmtime.WasmtimeError:
        return None


def _is_valid(engine: wasmtime.Engine, code: bytes) -> bool:
    try:
        wasmtime.Module.validate(engine, code)
    except wasmtime.WasmtimeError:
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
