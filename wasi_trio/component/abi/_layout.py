"""Sizes, alignments and flat forms ("Alignment", "Element Size" and "Flattening" of the Canonical ABI).

All memories have i32 addresses. Results depend on types alone and are cached by type.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, TypeAlias

from wasi_trio.component._types import (
    BOOL,
    Borrow,
    Enum,
    Flags,
    FuncType,
    Future,
    List,
    Map,
    Option,
    Own,
    Primitive,
    Record,
    Result,
    Stream,
    Tuple,
    ValType,
    Variant,
    contains,
)

#: One of "i32", "i64", "f32" and "f64".
CoreType: TypeAlias = str

MAX_FLAT_PARAMS = 16
MAX_FLAT_ASYNC_PARAMS = 4
MAX_FLAT_RESULTS = 1

#: Maximum size in bytes of one string or one list in a guest's memory.
MAX_BYTE_LENGTH = 2**28 - 1

_PRIMITIVE_SIZES = {
    "bool": 1,
    "s8": 1,
    "u8": 1,
    "s16": 2,
    "u16": 2,
    "s32": 4,
    "u32": 4,
    "s64": 8,
    "u64": 8,
    "f32": 4,
    "f64": 8,
    "char": 4,
    "string": 8,
    "error-context": 4,
}
_PRIMITIVE_CORE_TYPES = {"s64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}


def align_to(offset: int, alignment: int) -> int:
    """Return the first multiple of ``alignment`` (a power of two) that is at least ``offset``."""
    return (offset + alignment - 1) & -alignment


def cases(type_: Variant | Enum | Option | Result) -> tuple[tuple[str, ValType | None], ...]:
    """Return the cases of a variant, or of a type that despecializes to one ("Despecialization")."""
    match type_:
        case Variant(named):
            return named
        case Enum(names):
            return tuple((name, None) for name in names)
        case Option(payload):
            return (("none", None), ("some", payload))
        case Result(ok, err):
            return (("ok", ok), ("error", err))


def fields(type_: Record | Tuple) -> tuple[ValType, ...]:
    """Return the types of a record's or a tuple's fields, in order."""
    return type_.types if isinstance(type_, Tuple) else tuple(t for _, t in type_.fields)


@functools.lru_cache(maxsize=8192)
def alignment(type_: ValType) -> int:
    """Return the alignment in bytes of a value in memory."""
    match type_:
        case Primitive("string"):
            return 4
        case Primitive(name):
            return _PRIMITIVE_SIZES[name]
        case List(element, length):
            return 4 if length is None else alignment(element)
        case Record() | Tuple():
            return max((alignment(t) for t in fields(type_)), default=1)
        case Variant() | Enum() | Option() | Result():
            return max(discriminant_size(type_), _payload_alignment(type_))
        case Flags():
            return size(type_)
        case _:
            return 4


@functools.lru_cache(maxsize=8192)
def size(type_: ValType) -> int:
    """Return the size in bytes of a value in memory, including the padding to its alignment."""
    match type_:
        case Primitive(name):
            return _PRIMITIVE_SIZES[name]
        case List(element, length):
            return 8 if length is None else length * size(element)
        case Record() | Tuple():
            end = 0
            for t in fields(type_):
                end = align_to(end, alignment(t)) + size(t)
            return align_to(end, alignment(type_))
        case Variant() | Enum() | Option() | Result():
            largest = max((size(t) for _, t in cases(type_) if t is not None), default=0)
            return align_to(payload_offset(type_) + largest, alignment(type_))
        case Flags(names):
            return 1 if len(names) <= 8 else 2 if len(names) <= 16 else 4
        case Map():
            return 8
        case _:
            return 4


def offsets(type_: Record | Tuple) -> tuple[int, ...]:
    """Return the offset of each field from the start of the record or tuple."""
    starts, end = [], 0
    for t in fields(type_):
        end = align_to(end, alignment(t))
        starts.append(end)
        end += size(t)
    return tuple(starts)


def discriminant_size(type_: Variant | Enum | Option | Result) -> int:
    """Return the size in bytes of a variant's discriminant."""
    count = len(cases(type_))
    return 1 if count <= 2**8 else 2 if count <= 2**16 else 4


def payload_offset(type_: Variant | Enum | Option | Result) -> int:
    """Return the offset of the payload in a variant."""
    return align_to(discriminant_size(type_), _payload_alignment(type_))


def _payload_alignment(type_: Variant | Enum | Option | Result) -> int:
    return max((alignment(t) for _, t in cases(type_) if t is not None), default=1)


@functools.lru_cache(maxsize=8192)
def flat_length(type_: ValType) -> int:
    """Return the number of core values in a value's flat form. This is cheap even if the flat form is huge."""
    match type_:
        case Primitive("string") | Map():
            return 2
        case List(element, length):
            return 2 if length is None else length * flat_length(element)
        case Record() | Tuple():
            return sum(flat_length(t) for t in fields(type_))
        case Variant() | Enum() | Option() | Result():
            return 1 + max((flat_length(t) for _, t in cases(type_) if t is not None), default=0)
        case _:
            return 1


@functools.lru_cache(maxsize=8192)
def flatten(type_: ValType) -> tuple[CoreType, ...]:
    """Return the core types of a value that is not passed in memory (``flatten_type``)."""
    match type_:
        case Primitive("string") | Map() | List(_, None):
            return ("i32", "i32")
        case Primitive(name):
            return (_PRIMITIVE_CORE_TYPES.get(name, "i32"),)
        case List(element, int(length)):
            return flatten(element) * length
        case Record() | Tuple():
            return tuple(core for t in fields(type_) for core in flatten(t))
        case Variant() | Enum() | Option() | Result():
            joined: list[CoreType] = []
            for _, payload in cases(type_):
                if payload is None:
                    continue
                for i, core in enumerate(flatten(payload)):
                    if i == len(joined):
                        joined.append(core)
                    else:
                        joined[i] = _join(joined[i], core)
            return ("i32", *joined)
        case _:
            return ("i32",)


def _join(a: CoreType, b: CoreType) -> CoreType:
    if a == b:
        return a
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


def total_flat_length(types: Sequence[ValType]) -> int:
    """Return the number of core values in the flat form of a sequence of values, regardless of the limit."""
    return sum(map(flat_length, types))


def flat_count(types: Sequence[ValType], max_flat: int) -> int:
    """Return the number of core values that carry a sequence of values: one, a pointer, beyond ``max_flat``."""
    count = total_flat_length(types)
    return count if count <= max_flat else 1


def core_signature(
    type_: FuncType, context: Literal["lift", "lower"], is_async: bool = False, has_callback: bool = False
) -> tuple[tuple[CoreType, ...], tuple[CoreType, ...]]:
    """Return the core parameters and results of ``canon lift`` or ``canon lower`` (``flatten_functype``).

    ``is_async`` and ``has_callback`` are the canonical options ``async`` and ``callback``.
    """
    params = tuple(t for _, t in type_.params)
    lowering = context == "lower"
    limit = MAX_FLAT_ASYNC_PARAMS if is_async and lowering else MAX_FLAT_PARAMS
    core_params = tuple(core for t in params for core in flatten(t)) if total_flat_length(params) <= limit else ("i32",)
    if is_async:
        if not lowering:
            return core_params, (("i32",) if has_callback else ())
        return core_params + (("i32",) if type_.result is not None else ()), ("i32",)
    if type_.result is None:
        return core_params, ()
    if flat_length(type_.result) <= MAX_FLAT_RESULTS:
        return core_params, flatten(type_.result)
    return ((*core_params, "i32"), ()) if lowering else (core_params, ("i32",))


def needs_lends(type_: FuncType, *, waits: bool = True) -> bool:
    """Return whether lifting this function's arguments must count the handles lent to the call.

    A guest that waits in a synchronous call cannot drop a handle lent to that call, unless the call also transfers
    handles or leaves streams open. A call lowered with the ``async`` option must always count. The result is irrelevant
    if the call never ``waits``, because the guest runs again only after it.
    """
    params = [t for _, t in type_.params]
    if not any(contains(t, Borrow) for t in params):
        return False
    transfers = (*params, type_.result) if waits else params
    return type_.is_async or any(contains(t, (Own, Stream, Future)) for t in transfers)


#: The ``struct`` codes of numbers. All other types consist of these.
_STRUCT_CODES = {
    "s8": "b",
    "u8": "B",
    "s16": "h",
    "u16": "H",
    "s32": "i",
    "u32": "I",
    "s64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}


def number_code(type_: ValType | None) -> str | None:
    """Return the ``struct`` code of an integer or float type that Python reads unchanged from memory, else None."""
    if isinstance(type_, Primitive) and type_ != BOOL:
        return _STRUCT_CODES.get(type_.name)
    return None


UNSIGNED_CODES = {1: "B", 2: "H", 4: "I"}


def leaf_codes(type_: ValType) -> str | None:
    """Return the ``struct`` codes of a type of one or two core values, or None for a compound type."""
    match type_:
        case Primitive("bool"):
            return "B"
        case Primitive("string") | Map() | List(_, None):
            return "II"
        case Primitive("char" | "error-context") | Own() | Borrow() | Stream() | Future():
            return "I"
        case Primitive():
            return number_code(type_)
        case Flags():
            return UNSIGNED_CODES[size(type_)]
        case _:
            return None


@functools.lru_cache(maxsize=8192)
def weight(type_: ValType) -> int:
    """Return the approximate number of lines of code that lift or lower a value of this type inline."""
    match type_:
        case Record() | Tuple():
            return 1 + sum(map(weight, fields(type_)))
        case Enum():
            return 1
        case Variant() | Option() | Result():
            return 2 + sum(weight(t) for _, t in cases(type_) if t is not None)
        case _:
            return 1
