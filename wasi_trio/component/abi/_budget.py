"""How much of a call's budget lifted values take: a bound on what a guest can make the host hold.

A guest may pass a list of many elements that all point to one region of its memory, so the size of that memory
bounds nothing by itself.
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

#: Sizes in bytes from which a string or list<u8> is charged to the budget of a call. Inside of lists every one is.
ALWAYS = 1
#: Elsewhere there are only so many of them, so small ones need not be counted.
WHEN_LARGE = 1024


def charges(types: Sequence[ValType]) -> bool:
    """Whether values of these types can be large, so that a call with them needs a budget."""
    return any(map(sites, types))


@functools.lru_cache(maxsize=8192)
def sites(type_: ValType) -> int:
    """How many values of variable size a value can hold at once, a list that is not of bytes counting as many."""
    match type_:
        case Primitive("string") | List(Primitive("u8"), None):
            return 1
        case List() | Map():
            return 2
        case Record() | Tuple():
            return sum(map(sites, layout.fields(type_)))
        case Variant() | Option() | Result():
            return max((sites(t) for _, t in layout.cases(type_) if t is not None), default=0)
        case _:
            return 0


@functools.lru_cache(maxsize=8192)
def cost(type_: ValType) -> int:
    """About how many bytes of Python objects a value takes, what is of variable size left out.

    It is more where a value takes little room and much time, so that the budget bounds the time of a call as well.
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
