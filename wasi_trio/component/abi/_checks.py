"""Checks of the Python values that a host passes for WIT types, and the errors for values that do not fit."""

from __future__ import annotations

import operator
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from wasi_trio.component._errors import HostError
from wasi_trio.component._types import (
    Borrow,
    Enum,
    Flags,
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
)
from wasi_trio.component._values import Err, GuestResource, Ok

INTEGER_RANGES = {
    "s8": (-(2**7), 2**7 - 1),
    "u8": (0, 2**8 - 1),
    "s16": (-(2**15), 2**15 - 1),
    "u16": (0, 2**16 - 1),
    "s32": (-(2**31), 2**31 - 1),
    "u32": (0, 2**32 - 1),
    "s64": (-(2**63), 2**63 - 1),
    "u64": (0, 2**64 - 1),
}


def wit(type_: ValType | None) -> str:
    """Return a type in WIT notation, with the contents of records and variants shortened."""
    match type_:
        case None:
            return "_"
        case Primitive(name):
            return name
        case List(element, None):
            return f"list<{wit(element)}>"
        case List(element, length):
            return f"list<{wit(element)}, {length}>"
        case Tuple(types):
            return f"tuple<{', '.join(map(wit, types))}>" if len(types) <= 8 else f"tuple of {len(types)}"
        case Option(payload):
            return f"option<{wit(payload)}>"
        case Result(None, None):
            return "result"
        case Result(ok, None):
            return f"result<{wit(ok)}>"
        case Result(ok, err):
            return f"result<{wit(ok)}, {wit(err)}>"
        case Map(key, value):
            return f"map<{wit(key)}, {wit(value)}>"
        case Own(resource):
            return f"own<{resource.name}>"
        case Borrow(resource):
            return f"borrow<{resource.name}>"
        case Stream(element):
            return f"stream<{wit(element)}>"
        case Future(element):
            return f"future<{wit(element)}>"
        case Record(named):
            return f"record {{{_some([name for name, _ in named])}}}"
        case Enum(names):
            return f"enum {{{_some(names)}}}"
        case Flags(names):
            return f"flags {{{_some(names)}}}"
        case _:
            return f"variant {{{_some([name for name, _ in type_.cases])}}}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def mismatch(type_: ValType | None, value: object, detail: str = "") -> HostError:
    """Return the error for a value that does not fit the type."""
    text = f"{wit(type_)} cannot be made from a Python {type(value).__name__}"
    return HostError(f"{text}: {detail}" if detail else text)


def as_integer(value: Any, type_: Primitive) -> int:
    """Return ``value`` as an int in the range of the type. Generated code calls this when its inline check fails."""
    if not isinstance(value, int):
        try:
            value = operator.index(value)
        except TypeError:
            raise mismatch(type_, value) from None
    low, high = INTEGER_RANGES[type_.name]
    if not low <= value <= high:
        raise mismatch(
            type_, value, f"{value} is not between {low} and {high}" if -(2**80) < value < 2**80 else "out of range"
        )
    return int(value)


def f32_bits(value: Any) -> int:
    """Return the bit pattern of a number as an IEEE 754 single."""
    try:
        return _U32.unpack(_F32.pack(value))[0]  # type: ignore[no-any-return]
    except (struct.error, OverflowError) as error:
        raise mismatch(Primitive("f32"), value, str(error)) from None


def f64_bits(value: Any) -> int:
    """Return the bit pattern of a number as an IEEE 754 double."""
    try:
        return _U64.unpack(_F64.pack(value))[0]  # type: ignore[no-any-return]
    except (struct.error, OverflowError) as error:
        raise mismatch(Primitive("f64"), value, str(error)) from None


_F32, _F64, _U32, _U64 = map(struct.Struct, ("<f", "<d", "<I", "<Q"))


def number_error(types: Sequence[Primitive], values: Sequence[Any], error: Exception) -> HostError:
    """Return the error for the first value that does not fit its type, after ``struct`` refused to pack all of them."""
    for type_, value in zip(types, values, strict=True):
        try:
            if type_.name in INTEGER_RANGES:
                as_integer(value, type_)
            else:
                (f32_bits if type_.name == "f32" else f64_bits)(value)
        except HostError as culprit:
            return culprit
    return HostError(str(error))


def char_bits(value: Any) -> int:
    """Return the code point of a ``char``."""
    if not isinstance(value, str):
        raise mismatch(Primitive("char"), value)
    if len(value) != 1:
        raise mismatch(Primitive("char"), value, f"it has {len(value)} characters")
    point = ord(value)
    if 0xD800 <= point <= 0xDFFF:
        raise mismatch(Primitive("char"), value, "a surrogate is not a character")
    return point


def flag_bits(value: Any, type_: Flags, bits: Mapping[str, int]) -> int:
    """Return the bit vector of a collection of flag names."""
    if isinstance(value, str):
        raise mismatch(type_, value, "a collection of names is required")
    total = 0
    try:
        for name in value:
            total |= bits[name]
    except KeyError as error:
        raise mismatch(type_, value, f"unknown flag {error}") from None
    except TypeError:
        raise mismatch(type_, value) from None
    return total


def as_case(value: Any, type_: ValType) -> tuple[Any, Any]:
    """Return the case name and the payload of a variant's value."""
    if isinstance(value, tuple) and len(value) == 2:
        return value
    if isinstance(value, str):
        return value, None
    raise mismatch(type_, value, "Variant(case, value) is required")


def no_case(type_: ValType, case: object, value: object) -> HostError:
    return mismatch(type_, value, f"unknown case {case!r:.80}")


def payload_unwanted(type_: ValType, case: str, payload: object) -> HostError:
    return HostError(f"the case {case} of {wit(type_)} has no payload, but was given a Python {type(payload).__name__}")


def as_result(value: Any, type_: ValType) -> tuple[int, Any]:
    """Return the case index and the payload of a ``result``'s value."""
    if isinstance(value, Ok):
        return 0, value.value
    if isinstance(value, Err):
        return 1, value.value
    raise mismatch(type_, value, "Ok or Err is required")


def as_fields(value: Any, type_: ValType, count: int) -> Sequence[Any]:
    """Return a tuple's value after checking that it has ``count`` items."""
    if not isinstance(value, (tuple, list)):
        raise mismatch(type_, value)
    if len(value) != count:
        raise mismatch(type_, value, f"it has {len(value)} items, {count} are required")
    return value


def as_items(value: Any, type_: List, limit: int) -> list[Any] | tuple[Any, ...]:
    """Return a list's value after checking its length: at most ``limit``, and that of the type if the type has one."""
    if value.__class__ is list or value.__class__ is tuple:
        _check_length(len(value), value, type_, limit)
        return value
    if isinstance(value, (str, Mapping)):
        raise mismatch(type_, value)
    try:
        _check_length(len(value), value, type_, limit)
        items = list(value)
    except TypeError as error:
        raise mismatch(type_, value, "a sized iterable is required") from error
    _check_length(len(items), value, type_, limit)
    return items


def as_buffer(value: Any, type_: List, limit: int) -> bytes | memoryview:
    """Return the bytes of a ``list<u8>``'s value, which may be any C-contiguous buffer of unsigned bytes."""
    if value.__class__ is bytes:
        data: bytes | memoryview = value
    else:
        try:
            data = memoryview(value)
        except TypeError:
            raise mismatch(type_, value, "bytes or another buffer is required") from None
        if data.format != "B" or data.ndim != 1 or not data.c_contiguous:
            raise mismatch(type_, value, "the buffer is not one contiguous run of unsigned bytes")
    _check_length(len(data), value, type_, limit)
    return data


def _check_length(length: int, value: Any, type_: List, limit: int) -> None:
    if type_.length is not None and length != type_.length:
        raise mismatch(type_, value, f"it has {length} items")
    if length > limit:
        raise mismatch(type_, value, f"{length} items are too many to pass at once")


def missing_field(type_: Record, value: object, error: AttributeError) -> HostError:
    return mismatch(type_, value, str(error))


def check_error_context(value: Any) -> None:
    if not hasattr(value, "debug_message"):
        raise HostError(f"an error-context cannot be made from a Python {type(value).__name__}")


def check_end(value: Any, kind: str) -> None:
    """Check the value of a ``stream`` or ``future``, as far as that is possible without taking it."""
    if not hasattr(value, "into_shared") or getattr(value, "kind", kind) != kind:
        raise HostError(f"a {kind} cannot be made from a Python {type(value).__name__}")


def guest_rep(value: Any, type_: Own | Borrow) -> Any:
    """Return the representation of a resource that a guest implements, for a borrow."""
    if not isinstance(value, GuestResource):
        raise mismatch(type_, value)
    if value.resource is not type_.resource:
        raise mismatch(type_, value, f"it is a {value.resource.name} of another kind")
    if value.rep is None:
        raise mismatch(type_, value, "its ownership was transferred earlier")
    return value.rep


def take_guest_rep(value: Any, type_: Own | Borrow) -> Any:
    """Return the representation as ``guest_rep`` does, and detach it from the Python object, for a transfer."""
    rep = guest_rep(value, type_)
    value.rep = None
    return rep
