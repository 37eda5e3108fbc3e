"""Lower bounds on this machine for anything that uses wasmtime's C API and ctypes."""

from __future__ import annotations

import ctypes
from typing import Any

import wasmtime

from benchmarks.measure import REFERENCE_CALLBACK, REFERENCE_INSTANCE, Settings, each
from benchmarks.report import Report, Row
from tests.wheel import as_pointer
from wasi_trio.runtime import _ffi as ffi

CALLBACK = """(module
  (import "host" "empty" (func $empty))
  (func (export "loop") (param i32)
    (loop $again
      (call $empty)
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""

#: a module with one memory, like guests
MODULE = '(module (memory (export "memory") 1) (func (export "run") (param i32) (result i32) (local.get 0)))'


def measure(settings: Settings) -> tuple[float, float]:
    """Return the microseconds of an empty callback, and of a store with an instance and a call on a fiber."""
    return each(_callbacks(), settings), each(_instances(), settings)


def _empty(env: Any, caller: Any, values: Any, count: Any) -> int:
    return 0


class _Machine:
    """An engine with wasmtime's configuration, and a linker."""

    def __init__(self, text: str) -> None:
        self.engine = wasmtime.Engine()
        self.module = wasmtime.Module(self.engine, text)
        self.linker = ffi.linker_new(as_pointer(self.engine.ptr()))
        self.trap, self.error = ctypes.c_void_p(), ctypes.c_void_p()

    def prepare(self) -> None:
        pre = ctypes.c_void_p()
        assert not ffi.linker_instantiate_pre(self.linker, as_pointer(self.module.ptr()), ctypes.byref(pre))
        self.pre = pre

    def start(self, name: bytes) -> tuple[int, int, Any]:
        """Return a new store, its context, and the function ``name`` of a new instance in it."""
        store = ffi.store_new(as_pointer(self.engine.ptr()), None, None)
        context = ffi.store_context(store)
        instance = ffi.InstanceStruct()
        future = ffi.instance_pre_instantiate_async(
            self.pre, context, ctypes.byref(instance), ctypes.byref(self.trap), ctypes.byref(self.error)
        )
        assert ffi.call_future_poll(future)
        ffi.call_future_delete(future)
        extern = ctypes.create_string_buffer(ffi.EXTERN_SIZE)
        assert ffi.instance_export_get(context, ctypes.byref(instance), name, len(name), extern)
        return (
            store,
            context,
            ctypes.create_string_buffer(extern.raw[ffi.PAYLOAD : ffi.PAYLOAD + ffi.FUNC_SIZE], ffi.FUNC_SIZE),
        )


def _callbacks() -> Any:
    machine = _Machine(CALLBACK)
    prototype = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    callback = prototype(_empty)
    type_ = wasmtime.FuncType([], [])
    address = ctypes.cast(callback, ffi.UncheckedCallback)
    assert not ffi.linker_define_func_unchecked(
        machine.linker, b"host", 4, b"empty", 5, as_pointer(type_.ptr()), address, None, None
    )
    machine.prepare()
    _, context, function = machine.start(b"loop")
    values = (ctypes.c_uint64 * 2)()

    def run(count: int, keep: Any = callback) -> None:
        values[0] = count
        assert not ffi.func_call_unchecked(context, function, values, 1, ctypes.byref(machine.trap))

    return run


def _instances() -> Any:
    machine = _Machine(MODULE)
    machine.prepare()
    arguments = (ctypes.c_uint64 * 4)()
    results = (ctypes.c_uint64 * 4)()

    def run(count: int) -> None:
        for _ in range(count):
            store, context, function = machine.start(b"run")
            future = ffi.func_call_async(
                context, function, arguments, 1, results, 1, ctypes.byref(machine.trap), ctypes.byref(machine.error)
            )
            assert ffi.call_future_poll(future)
            ffi.call_future_delete(future)
            ffi.store_delete(store)

    return run


def report(settings: Settings) -> Report:
    """Report the floors compared with those of the reference machine. The ratios scale the aims for times."""
    return Report(
        "Floors",
        [
            Row(
                "an empty ctypes callback, called from wasm",
                settings.callback,
                "µs",
                ("reference machine", REFERENCE_CALLBACK),
            ),
            Row(
                "one core module: store, instance, call on a fiber, drop",
                settings.instance,
                "µs",
                ("reference machine", REFERENCE_INSTANCE),
            ),
        ],
        ["Bounds on times below are those for the reference machine, scaled by these ratios."],
    )
