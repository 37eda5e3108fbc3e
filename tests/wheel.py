"""The wheel's own classes of wasmtime, for tests that compare with it."""

from __future__ import annotations

import ctypes
from typing import Any

import wasmtime
from wasmtime import _ffi as wheel

from wasi_trio.runtime._wasmtime import WasmEngine


def wheel_engine(engine: WasmEngine) -> wasmtime.Engine:
    """Return the wheel's object for an engine."""
    clone = wheel.wasmtime_engine_clone(ctypes.cast(engine.pointer, ctypes.POINTER(wheel.wasm_engine_t)))
    made: wasmtime.Engine = wasmtime.Engine.__new__(wasmtime.Engine)
    made._set_ptr(clone)
    return made


def as_pointer(thing: Any) -> int:
    """Return the address in one of the wheel's pointers. The caller must keep the pointer's owner alive."""
    return ctypes.cast(thing, ctypes.c_void_p).value or 0
