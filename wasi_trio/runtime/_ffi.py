"""The part of wasmtime's C API that the runtime calls, as ctypes prototypes.

Only what the wheel's own classes cannot do, or not fast enough, is bound here. Functions that may run wasm
release the GIL while they do (``CDLL``), so that other threads, the epoch ticker among them, keep running; the
quick accessors keep it (``PyDLL``), which saves a tenth of a microsecond each.

Errors and traps come back as owned pointers; ``take_error`` and ``take_trap`` turn them into text and free them.
"""

from __future__ import annotations

import ctypes
import mmap
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

from wasmtime import _ffi as _wheel

from wasi_trio.component._features import CORE, MODEL

#: the file of wasmtime's code
LIBRARY = str(_wheel.filename)
_running = ctypes.CDLL(LIBRARY)
_quick = ctypes.PyDLL(LIBRARY)


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]  # a function object of our own: the wheel's prototypes stay as they are
    function.restype = result
    function.argtypes = arguments
    return function


#: size in bytes of wasmtime_extern_t and wasmtime_val_t, and where their payload starts
EXTERN_SIZE = 32
VAL_SIZE = 32
PAYLOAD = 8
#: size in bytes of wasmtime_func_t, and of a raw value in the unchecked calls
FUNC_SIZE = 16
RAW_SIZE = 16
#: wasmtime_extern_t.kind
EXTERN_FUNC = 0
EXTERN_MEMORY = 3
#: wasmtime_val_t.kind of the core value types
VAL_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}
#: what of a 64-bit slot is a value's own: the rest may be anything
BITS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF, "f32": 0xFFFF_FFFF, "f64": 0xFFFF_FFFF_FFFF_FFFF}
#: wasmtime_update_deadline_kind_t
CONTINUE = 0
YIELD = 1


class InstanceStruct(Structure):
    """wasmtime_instance_t"""

    _fields_ = [("store_id", c_uint64), ("index", c_size_t)]


class _ByteVec(Structure):
    _fields_ = [("size", c_size_t), ("data", c_void_p)]


class ProfiledModule(Structure):
    """wasmtime_guestprofiler_modules_t"""

    _fields_ = [("name", POINTER(_ByteVec)), ("module", c_void_p)]


def byte_vec(content: bytes) -> _ByteVec:
    """A ``wasm_byte_vec_t`` that is lent: the object keeps what it points to."""
    kept = ctypes.create_string_buffer(content, len(content))
    vector = _ByteVec(len(content), ctypes.addressof(kept))
    vector.kept = kept
    return vector


#: a host function on raw values: (env, caller, values, count) -> owned trap or 0
UncheckedCallback = CFUNCTYPE(c_size_t, c_void_p, c_void_p, POINTER(c_uint64), c_size_t)
#: a host function that may leave the fiber: (env, caller, args, nargs, results, nresults, trap out, continuation out)
AsyncCallback = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_void_p)
#: asked at an epoch tick: (context, data, delta out, kind out) -> owned error or 0
EpochCallback = CFUNCTYPE(c_size_t, c_void_p, c_void_p, POINTER(c_uint64), POINTER(c_uint8))

async_stack_size_set = _bind(_quick, "wasmtime_config_async_stack_size_set", None, c_void_p, c_size_t)
#: switch features on or off
config_features = {
    feature.name: _bind(_quick, f"wasmtime_config_{setting}_set", None, c_void_p, c_bool)
    for prefix, features in (("wasm_", CORE), ("wasm_component_model_", MODEL))
    for feature in features
    for setting in ["gc_support" if feature.name == "gc-support" else prefix + feature.name.replace("-", "_")]
}
engine_increment_epoch = _bind(_quick, "wasmtime_engine_increment_epoch", None, c_void_p)

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

#: libc's strlen: as a continuation it says "done" of a one-character string and "not yet" of an empty one, and
#: no Python runs on the fiber to answer
STRLEN: int = ctypes.cast(ctypes.CDLL(None).strlen, c_void_p).value or 0


#: bytes that are looked at of each end of a message: the names in a backtrace are the guest's, and may be of any length
_MOST_TEXT = 64 << 10


def _take(message: Any, delete: Any, pointer: int) -> str:
    vector = _ByteVec()
    message(pointer, byref(vector))
    try:
        if vector.size <= 2 * _MOST_TEXT:
            text = string_at(vector.data, vector.size)
        else:  # the cause stands at the end
            text = string_at(vector.data, _MOST_TEXT) + b"...\n"
            text += string_at(vector.data + vector.size - _MOST_TEXT, _MOST_TEXT)
        return text.decode("utf-8", "replace").rstrip("\0")
    finally:
        _byte_vec_delete(byref(vector))
        delete(pointer)


def take_error(pointer: int) -> str:
    """The message of an owned ``wasmtime_error_t``, which is freed."""
    return _take(_error_message, _error_delete, pointer)


def take_trap(pointer: int) -> str:
    """The message of an owned ``wasm_trap_t``, backtrace included; the trap is freed."""
    return _take(_trap_message, _trap_delete, pointer)


def take_profile(pointer: int) -> bytes:
    """What an owned ``wasmtime_guestprofiler_t`` has recorded, as JSON; it is freed."""
    vector = _ByteVec()
    error = _guestprofiler_finish(pointer, byref(vector))
    if error:
        raise RuntimeError(take_error(error))
    try:
        return string_at(vector.data, vector.size)
    finally:
        _byte_vec_delete(byref(vector))


_madvise = _bind(ctypes.CDLL(None), "madvise", c_int, c_void_p, c_size_t, c_int) if sys.platform == "linux" else None


def give_back(start: int, size: int) -> None:
    """Give pages of memory back to the system that nobody reads any more. Other systems than Linux do not take them."""
    if _madvise is not None:
        _madvise(start, size, mmap.MADV_DONTNEED)
