"""wasmtime's engines, modules and types of functions, as owners of pointers in its C API.

The wheel has such classes too. Their import binds all 1,500 functions of the C API, which takes 20 ms of each start.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from typing import Any

from wasi_trio.component import _features as features
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._code_cache import cache_configuration

#: Bytes of machine stack for a guest call and its host functions. With wasmtime's default of 2 MiB, a host callback
#: that recurses through C code can overflow it before Python raises RecursionError.
FIBER_STACK = 8 << 20
#: ``wasm_valkind_t`` of the core value types.
_VAL_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
#: ``wasmtime_profiling_strategy_t``.
_PROFILERS = {None: 0, "jitdump": 1, "perfmap": 3}


class WasmtimeError(Exception):
    """wasmtime has refused an operation. The message is its report, which may have several lines."""


def _check(error: int | None) -> None:
    if error:
        raise WasmtimeError(ffi.take_error(error))


class WasmEngine:
    """A ``wasm_engine_t`` with our settings.

    ``cache`` makes wasmtime store compiled code on disk. ``admitted`` names the features for guests. ``reservation`` is
    the address space for each memory in bytes. ``profiler`` is the format in which wasmtime describes its code. Raises
    WasmtimeError if the cache is not usable.
    """

    __slots__ = ("pointer",)

    def __init__(
        self, admitted: Collection[str], reservation: int, *, cache: bool = False, profiler: str | None = None
    ) -> None:
        config = ffi.config_new()
        try:
            _configure(config, admitted, reservation, cache, profiler)
        except BaseException:
            ffi.config_delete(config)
            raise
        self.pointer: int = ffi.engine_new_with_config(config)  # which takes the configuration

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            ffi.engine_delete(self.pointer)


def _configure(config: int, admitted: Collection[str], reservation: int, cache: bool, profiler: str | None) -> None:
    ffi.config_epoch_interruption_set(config, True)
    ffi.config_memory_may_move_set(config, False)
    ffi.config_memory_reservation_set(config, reservation)
    if reservation != address_space.FULL_RESERVATION:
        ffi.config_memory_guard_size_set(config, address_space.SMALL_GUARD)
    # Guests run on one thread, so they have no use for shared memories.
    ffi.config_shared_memory_set(config, False)
    ffi.config_profiler_set(config, _PROFILERS[profiler])
    ffi.config_async_stack_size_set(config, FIBER_STACK)
    for feature in (*features.CORE, *features.MODEL):
        ffi.config_features[feature.name](config, feature.name in admitted)
    if cache:
        path = cache_configuration()
        _check(ffi.config_cache_config_load(config, None if path is None else bytes(path)))


class CoreModule:
    """A ``wasmtime_module_t``. The class methods compile or load one, and raise WasmtimeError."""

    __slots__ = ("pointer",)

    def __init__(self, pointer: int) -> None:
        """Own a pointer."""
        self.pointer = pointer

    def __del__(self) -> None:
        ffi.module_delete(self.pointer)

    @classmethod
    def compile(cls, engine: WasmEngine, code: bytes) -> CoreModule:
        """Validate and compile WebAssembly code."""
        return cls(_made(ffi.module_new, engine.pointer, code, len(code)))

    @classmethod
    def deserialize(cls, engine: WasmEngine, serialized: bytes) -> CoreModule:
        """Load the result of ``serialize`` from an engine with the same settings. The bytes must be trusted."""
        return cls(_made(ffi.module_deserialize, engine.pointer, serialized, len(serialized)))

    @classmethod
    def deserialize_file(cls, engine: WasmEngine, path: bytes) -> CoreModule:
        """Map a file with the result of ``serialize``. The file must be trusted, and never change."""
        return cls(_made(ffi.module_deserialize_file, engine.pointer, path))

    def serialize(self) -> bytes:
        """Return the machine code for ``deserialize``."""
        return _bytes_from(ffi.module_serialize, self.pointer)


def validate_module(engine: WasmEngine, code: bytes) -> None:
    """Raise WasmtimeError if a core module is invalid."""
    _check(ffi.module_validate(engine.pointer, code, len(code)))


def validate_component(engine: WasmEngine, component: bytes) -> None:
    """Raise WasmtimeError if a component is invalid. wasmtime compiles it, so it should contain no core modules."""
    ffi.component_delete(_made(ffi.component_new, engine.pointer, component, len(component)))


def assemble(text: bytes) -> bytes:
    """Convert WebAssembly text to the binary format. Raises WasmtimeError whose message lists all faults."""
    return _bytes_from(ffi.wat2wasm, text, len(text))


class FuncType:
    """A new ``wasm_functype_t``.

    wasmtime registers it with the first engine that uses it, and aborts if another engine does. So it must not be kept.
    """

    __slots__ = ("pointer",)

    def __init__(self, params: Sequence[str], results: Sequence[str]) -> None:
        self.pointer: int = ffi.functype_new(ctypes.byref(_types(params)), ctypes.byref(_types(results)))

    def __del__(self) -> None:
        ffi.functype_delete(self.pointer)


def _types(names: Sequence[str]) -> ffi.PointerVec:
    """Return an owned ``wasm_valtype_vec_t``."""
    vector = ffi.PointerVec()
    types = (ctypes.c_void_p * len(names))(*(ffi.valtype_new(_VAL_KINDS[name]) for name in names))
    ffi.valtype_vec_new(ctypes.byref(vector), len(names), types)
    return vector


def _made(make: Callable[..., Any], *arguments: Any) -> int:
    """Return the pointer that a function stores at its last argument. Raise the WasmtimeError that it returns."""
    pointer = ctypes.c_void_p()
    _check(make(*arguments, ctypes.byref(pointer)))
    assert pointer.value is not None
    return pointer.value


def _bytes_from(make: Callable[..., Any], *arguments: Any) -> bytes:
    """Return the bytes that a function stores at its last argument. Raise the WasmtimeError that it returns."""
    vector = ffi.ByteVec()
    _check(make(*arguments, ctypes.byref(vector)))
    return ffi.take_bytes(vector)
