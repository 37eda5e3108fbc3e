"""Charges lifted values against a call's budget, which bounds the host memory that a guest can occupy.

A guest may pass a list of many elements that all point to one region of its memory. So the size of that memory is not
a bound.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from wasi_trio.component._types import (
    Enum,
    Flags,
    List,
    Map,
    Option,
    Primitive,
    Record,
    Result,
    Tuple,
    ValType,
    Variant,
)
from wasi_trio.component.abi import _layout as layout

#: Minimum size in bytes of a string or list<u8> that is charged to a call's budget, for values inside a list.
ALWAYS = 1
#: The same for values outside a list. Their number is fixed by the type, so small ones need no charge.
WHEN_LARGE = 1024


def needs_budget(types: Sequence[ValType]) -> bool:
    """Return whether a call with values of these types needs a budget, because the values can be large."""
    return any(map(variable_count, types))


@functools.lru_cache(maxsize=8192)
def variable_count(type_: ValType) -> int:
    """Return the maximum number of variable-size values in a value. A list counts as two unless it is a list<u8>."""
    match type_:
        case Primitive("string") | List(Primitive("u8"), None):
            return 1
        case List() | Map():
            return 2
        case Record() | Tuple():
            return sum(map(variable_count, layout.fields(type_)))
        case Variant() | Option() | Result():
            return max((variable_count(t) for _, t in layout.cases(type_) if t is not None), default=0)
        case _:
            return 0


@functools.lru_cache(maxsize=8192)
def cost(type_: ValType) -> int:
    """Return the approximate size in bytes of a value's Python objects, without its variable-size parts.

    The figure is higher for types whose values are small but slow to lift, so that the budget also bounds the time of
    a call.
    """
    match type_:
        case Primitive("bool" | "s8" | "u8") | Enum():
            return 16
        case Primitive("string"):
            return 72
        case Map():
            return 104
        case Primitive("char"):
            return 76
        case Primitive():
            return 32
        case Flags(names):
            return 40 if len(names) <= 8 else 216
        case List(element, length):
            return 104 if length is None else 64 + length * (8 + cost(element))
        case Record() | Tuple():
            return 64 + sum(8 + cost(t) for t in layout.fields(type_))
        case Variant() | Option() | Result():
            return 112 + max((cost(t) for _, t in layout.cases(type_) if t is not None), default=0)
        case _:
            return 72
