"""The part of wasmtime's C API that the runtime calls, as ctypes prototypes.

Importing the wheel's own package would bind all 1,500 functions of the C API, which takes 20 ms of each start. So this
module uses only the library in it. Functions that may run wasm or compile it release the GIL (``CDLL``), so that other
threads, such as the epoch ticker, can run. Short functions keep it (``PyDLL``), which saves 0.1 µs each.

Errors and traps are owned pointers. ``take_error`` and ``take_trap`` convert them to text and free them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint64,
    c_void_p,
    string_at,
)
from typing import Any

from wasi_trio.component._features import CORE, MODEL


def _find_library() -> str:
    """Return the file of wasmtime's library: in the wheel, in a folder with the platform's name."""
    package = importlib.util.find_spec("wasmtime")
    folders = [] if package is None else package.submodule_search_locations or []
    name = "_libwasmtime.dylib" if sys.platform == "darwin" else "_libwasmtime.so"
    for folder in folders:
        for entry in os.scandir(folder):
            path = os.path.join(entry.path, name)
            if os.path.exists(path):
                return path
    raise ImportError(f"the package wasmtime has no {name}: reinstall it for this platform (pip install wasmtime)")


#: The file of wasmtime's library.
LIBRARY = _find_library()
_running = ctypes.CDLL(LIBRARY)
_quick = ctypes.PyDLL(LIBRARY)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]  # a separate function object, so the wheel's prototypes do not change
    function.restype = result
    function.argtypes = arguments
    return function


#: Size in bytes of wasmtime_extern_t and wasmtime_val_t, and the offset of their payload.
EXTERN_SIZE = 32
VAL_SIZE = 32
PAYLOAD = 8
#: Size in bytes of wasmtime_func_t, and of a raw value in unchecked calls.
FUNC_SIZE = 16
RAW_SIZE = 16
#: wasmtime_extern_t.kind.
EXTERN_FUNC = 0
EXTERN_MEMORY = 3
#: wasmtime_val_t.kind of the core value types.
VAL_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
#: The bits of a 64-bit slot that belong to a value. The others are undefined.
BITS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF, "f32": 0xFFFF_FFFF, "f64": 0xFFFF_FFFF_FFFF_FFFF}
#: wasmtime_update_deadline_kind_t.
CONTINUE = 0
YIELD = 1


class InstanceStruct(Structure):
    """wasmtime_instance_t"""

    _fields_ = [("store_id", c_uint64), ("index", c_size_t)]


class ByteVec(Structure):
    """wasm_byte_vec_t"""

    _fields_ = [("size", c_size_t), ("data", c_void_p)]


class PointerVec(Structure):
    """wasm_valtype_vec_t, and other vectors of pointers"""

    _fields_ = [("size", c_size_t), ("data", c_void_p)]


class ProfiledModule(Structure):
    """wasmtime_guestprofiler_modules_t"""

    _fields_ = [("name", POINTER(ByteVec)), ("module", c_void_p)]


def byte_vec(content: bytes) -> ByteVec:
    """Return a ``wasm_byte_vec_t`` whose object keeps its content alive."""
    kept = ctypes.create_string_buffer(content, len(content))
    vector = ByteVec(len(content), ctypes.addressof(kept))
    vector.kept = kept
    return vector


#: A host function on raw values: (env, caller, values, count) -> owned trap or 0.
UncheckedCallback = CFUNCTYPE(c_size_t, c_void_p, c_void_p, POINTER(c_uint64), c_size_t)
#: A host function that may leave the fiber: (env, caller, args, nargs, results, nresults, trap out, continuation out).
AsyncCallback = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p)
#: Called at an epoch tick: (context, data, delta out, kind out) -> owned error or 0.
EpochCallback = CFUNCTYPE(c_size_t, c_void_p, c_void_p, POINTER(c_uint64), POINTER(c_uint8))

config_new = _bind(_quick, "wasm_config_new", c_void_p)
config_delete = _bind(_quick, "wasm_config_delete", None, c_void_p)
config_epoch_interruption_set = _bind(_quick, "wasmtime_config_epoch_interruption_set", None, c_void_p, c_bool)
config_memory_may_move_set = _bind(_quick, "wasmtime_config_memory_may_move_set", None, c_void_p, c_bool)
config_memory_reservation_set = _bind(_quick, "wasmtime_config_memory_reservation_set", None, c_void_p, c_uint64)
config_memory_guard_size_set = _bind(_quick, "wasmtime_config_memory_guard_size_set", None, c_void_p, c_uint64)
config_shared_memory_set = _bind(_quick, "wasmtime_config_shared_memory_set", None, c_void_p, c_bool)
config_profiler_set = _bind(_quick, "wasmtime_config_profiler_set", None, c_void_p, c_uint8)
config_cache_config_load = _bind(_quick, "wasmtime_config_cache_config_load", c_void_p, c_void_p, c_char_p)
config_async_stack_size_set = _bind(_quick, "wasmtime_config_async_stack_size_set", None, c_void_p, c_size_t)
#: The functions that switch features on or off.
config_features = {
    feature.name: _bind(_quick, f"wasmtime_config_{setting}_set", None, c_void_p, c_bool)
    for prefix, features in (("wasm_", CORE), ("wasm_component_model_", MODEL))
    for feature in features
    for setting in ["gc_support" if feature.name == "gc-support" else prefix + feature.name.replace("-", "_")]
}
engine_new_with_config = _bind(_running, "wasm_engine_new_with_config", c_void_p, c_void_p)
engine_delete = _bind(_running, "wasm_engine_delete", None, c_void_p)
engine_increment_epoch = _bind(_quick, "wasmtime_engine_increment_epoch", None, c_void_p)

module_new = _bind(_running, "wasmtime_module_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
module_validate = _bind(_running, "wasmtime_module_validate", c_void_p, c_void_p, c_char_p, c_size_t)
module_serialize = _bind(_running, "wasmtime_module_serialize", c_void_p, c_void_p, c_void_p)
module_deserialize = _bind(_running, "wasmtime_module_deserialize", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
module_deserialize_file = _bind(_running, "wasmtime_module_deserialize_file", c_void_p, c_void_p, c_char_p, c_void_p)
module_delete = _bind(_running, "wasmtime_module_delete", None, c_void_p)
component_new = _bind(_running, "wasmtime_component_new", c_void_p, c_void_p, c_char_p, c_size_t, c_void_p)
component_delete = _bind(_running, "wasmtime_component_delete", None, c_void_p)
wat2wasm = _bind(_running, "wasmtime_wat2wasm", c_void_p, c_char_p, c_size_t, c_void_p)

valtype_new = _bind(_quick, "wasm_valtype_new", c_void_p, c_uint8)
valtype_vec_new = _bind(_quick, "wasm_valtype_vec_new", None, c_void_p, c_size_t, c_void_p)
functype_new = _bind(_quick, "wasm_functype_new", c_void_p, c_void_p, c_void_p)
functype_delete = _bind(_quick, "wasm_functype_delete", None, c_void_p)

store_new = _bind(_quick, "wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context = _bind(_quick, "wasmtime_store_context", c_void_p, c_void_p)
store_delete = _bind(_running, "wasmtime_store_delete", None, c_void_p)
store_limiter = _bind(_quick, "wasmtime_store_limiter", None, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int64)
store_epoch_deadline_callback = _bind(
    _quick, "wasmtime_store_epoch_deadline_callback", None, c_void_p, EpochCallback, c_void_p, c_void_p
)
context_set_epoch_deadline = _bind(_quick, "wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)

linker_new = _bind(_quick, "wasmtime_linker_new", c_void_p, c_void_p)
linker_clone = _bind(_quick, "wasmtime_linker_clone", c_void_p, c_void_p)
linker_delete = _bind(_quick, "wasmtime_linker_delete", None, c_void_p)
linker_define_instance = _bind(
    _quick, "wasmtime_linker_define_instance", c_void_p, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
)
linker_define_func_unchecked = _bind(
    _quick,
    "wasmtime_linker_define_func_unchecked",
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
    c_char_p,
    c_size_t,
    c_void_p,
    UncheckedCallback,
    c_void_p,
    c_void_p,
)
linker_define_async_func = _bind(
    _quick,
    "wasmtime_linker_define_async_func",
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
    c_char_p,
    c_size_t,
    c_void_p,
    AsyncCallback,
    c_void_p,
    c_void_p,
)
linker_instantiate_pre = _bind(_quick, "wasmtime_linker_instantiate_pre", c_void_p, c_void_p, c_void_p, c_void_p)
linker_instantiate_async = _bind(
    _quick,
    "wasmtime_linker_instantiate_async",
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
)
instance_pre_delete = _bind(_quick, "wasmtime_instance_pre_delete", None, c_void_p)
instance_pre_instantiate_async = _bind(
    _quick, "wasmtime_instance_pre_instantiate_async", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p
)
instance_export_get = _bind(
    _quick, "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
)
instance_export_nth = _bind(
    _quick, "wasmtime_instance_export_nth", c_bool, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p
)

memory_data = _bind(_quick, "wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
table_size = _bind(_quick, "wasmtime_table_size", c_uint64, c_void_p, c_void_p)
memory_data_size = _bind(_quick, "wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)

func_call_async = _bind(
    _quick,
    "wasmtime_func_call_async",
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    c_size_t,
    c_void_p,
    c_size_t,
    c_void_p,
    c_void_p,
)
call_future_poll = _bind(_running, "wasmtime_call_future_poll", c_bool, c_void_p)
call_future_delete = _bind(_running, "wasmtime_call_future_delete", None, c_void_p)
func_call_unchecked = _bind(
    _running, "wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p
)

guestprofiler_new = _bind(
    _running, "wasmtime_guestprofiler_new", c_void_p, c_void_p, c_void_p, c_uint64, c_void_p, c_size_t
)
guestprofiler_sample = _bind(_quick, "wasmtime_guestprofiler_sample", None, c_void_p, c_void_p, c_uint64)
_guestprofiler_finish = _bind(_running, "wasmtime_guestprofiler_finish", c_void_p, c_void_p, c_void_p)

trap_new = _bind(_quick, "wasmtime_trap_new", c_size_t, c_char_p, c_size_t)
error_new = _bind(_quick, "wasmtime_error_new", c_size_t, c_char_p)
_error_message = _bind(_quick, "wasmtime_error_message", None, c_void_p, c_void_p)
_error_delete = _bind(_quick, "wasmtime_error_delete", None, c_void_p)
_trap_message = _bind(_quick, "wasm_trap_message", None, c_void_p, c_void_p)
_trap_delete = _bind(_quick, "wasm_trap_delete", None, c_void_p)
_byte_vec_delete = _bind(_quick, "wasm_byte_vec_delete", None, c_void_p)

#: libc's strlen. As a continuation it reports "done" for a one-character string and "not yet" for an empty one, so no
#: Python runs on the fiber.
STRLEN: int = ctypes.cast(ctypes.CDLL(None).strlen, c_void_p).value or 0


#: Maximum bytes read from each end of a message. Names in a backtrace come from the guest, so their length is
#: unbounded.
_MOST_TEXT = 64 << 10


def _take(message: Any, delete: Any, pointer: int) -> str:
    vector = ByteVec()
    message(pointer, byref(vector))
    try:
        if vector.size <= 2 * _MOST_TEXT:
            text = string_at(vector.data, vector.size)
        else:  # the cause is at the end
            text = string_at(vector.data, _MOST_TEXT) + b"...\n"
            text += string_at(vector.data + vector.size - _MOST_TEXT, _MOST_TEXT)
        return text.decode("utf-8", "replace").rstrip("\0")
    finally:
        _byte_vec_delete(byref(vector))
        delete(pointer)


def take_error(pointer: int) -> str:
    """Return the message of an owned ``wasmtime_error_t`` and free it."""
    return _take(_error_message, _error_delete, pointer)


def take_trap(pointer: int) -> str:
    """Return the message of an owned ``wasm_trap_t`` with its backtrace, and free the trap."""
    return _take(_trap_message, _trap_delete, pointer)


def take_bytes(vector: ByteVec) -> bytes:
    """Return the content of an owned ``wasm_byte_vec_t`` and free it."""
    try:
        return string_at(vector.data, vector.size)
    finally:
        _byte_vec_delete(byref(vector))


def take_profile(pointer: int) -> bytes:
    """Return the profile of an owned ``wasmtime_guestprofiler_t`` as JSON, and free the profiler."""
    vector = ByteVec()
    error = _guestprofiler_finish(pointer, byref(vector))
    if error:
        raise RuntimeError(take_error(error))
    return take_bytes(vector)


_madvise = _bind(ctypes.CDLL(None), "madvise", c_int, c_void_p, c_size_t, c_int) if sys.platform == "linux" else None


def give_back(start: int, size: int) -> None:
    """Return unused pages of memory to the system. Has no effect on other systems than Linux."""
    if _madvise is not None:
        _madvise(start, size, mmap.MADV_DONTNEED)
