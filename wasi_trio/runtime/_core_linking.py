"""Links core modules. The sources of each module's imports are prepared once for all instances of a component."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from typing import Any

from wasi_trio.component._errors import LinkError
from wasi_trio.component._plan import CanonFunc, InstantiateModule
from wasi_trio.component._wiring import CANON, slot_name
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._adapters import adapter_module
from wasi_trio.runtime._compiler import CompiledStep
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._trampolines import Trampoline
from wasi_trio.runtime._wasmtime import CoreModule, FuncType


def _define_callback(
    linker: int, module: bytes, name: bytes, params: tuple[str, ...], results: tuple[str, ...], callback: Any
) -> None:
    """Define a host function on raw values. The caller must keep ``callback`` alive as long as the linker's modules."""
    type_ = FuncType(params, results)
    error = ffi.linker_define_func_unchecked(
        linker, module, len(module), name, len(name), type_.pointer, callback, None, None
    )
    if error:
        raise LinkError(ffi.take_error(error))


def _instance_pre(linker: int, module: CoreModule) -> int:
    pre = ctypes.c_void_p()
    error = ffi.linker_instantiate_pre(linker, module.pointer, ctypes.byref(pre))
    if error:
        raise LinkError(ffi.take_error(error))
    assert pre.value is not None
    return pre.value


class Adapter:
    """The module through which guests call one part's waiting imports, ready to be instantiated."""

    def __init__(self, engine: Engine, adapted: Mapping[int, Trampoline]) -> None:
        #: The position of the export for each canonical definition.
        self.position = {index: position for position, index in enumerate(adapted)}
        signatures = {index: (made.params, made.results, made.finish is not None) for index, made in adapted.items()}
        self.module = engine.compile(adapter_module(signatures))
        linker = ffi.linker_new(engine.pointer)
        try:
            self._suspend = _suspend_callback(engine)
            nothing = FuncType((), ())
            error = ffi.linker_define_async_func(
                linker, b"", 0, b"suspend", 7, nothing.pointer, self._suspend, None, None
            )
            if error:
                raise LinkError(ffi.take_error(error))
            for number, made in adapted.items():
                started = made.results if made.finish is None else (*made.results, "i32")
                _define_callback(linker, b"", b"start%d" % number, made.params, started, made.start)
                if made.finish is not None:
                    _define_callback(linker, b"", b"finish%d" % number, (), made.results, made.finish)
            self.pre = _instance_pre(linker, self.module)
        finally:
            ffi.linker_delete(linker)

    def __del__(self) -> None:
        if hasattr(self, "pre"):
            ffi.instance_pre_delete(self.pre)


def _suspend_callback(engine: Engine) -> Any:
    def suspend(
        env: int, caller: int, args: int, nargs: int, results: int, nresults: int, trap: int, continuation: int
    ) -> None:
        store = engine.current
        assert store is not None
        fields = (ctypes.c_uint64 * 3).from_address(continuation)
        fields[0], fields[1], fields[2] = ffi.STRLEN, store.flag_address, 0

    return ffi.AsyncCallback(suspend)


class CoreStep:
    """One core instantiation, prepared as far as possible without an instance.

    ``compiled`` is its module. ``imported`` is true if a later step imports any of its exports.

    If the module imports only host functions that never wait, it is instantiated from ``pre``. Otherwise it is
    instantiated by the instance's own linker, which contains the exports of the earlier core instances.
    """

    def __init__(
        self,
        step: InstantiateModule,
        compiled: CompiledStep,
        imported: bool,
        base: BaseLinker,
        adapted: Collection[int],
    ) -> None:
        self.slot = step.slot
        self.part = step.part
        self.name = slot_name(step.slot).encode()
        self.module = compiled.module
        self.module_pointer = self.module.pointer
        self.memory_size = compiled.wiring.memory_size
        self.memories = compiled.wiring.memories
        self.tables = compiled.wiring.tables
        self.imported = imported
        plain = all(isinstance(item, CanonFunc) and item.index not in adapted for item in compiled.wiring.imports)
        self.pre = _instance_pre(base.pointer, self.module) if plain else None

    def __del__(self) -> None:
        if getattr(self, "pre", None):
            ffi.instance_pre_delete(self.pre)


class BaseLinker:
    """The host functions of one part that never wait, under the names by which its modules import them."""

    def __init__(self, engine: Engine, plain: Mapping[int, Trampoline]) -> None:
        self.pointer: int = ffi.linker_new(engine.pointer)
        for index, made in plain.items():
            name = b"%d" % index
            _define_callback(self.pointer, CANON.encode(), name, made.params, made.results, made.start)

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            ffi.linker_delete(self.pointer)
