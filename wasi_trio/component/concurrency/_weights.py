"""Estimates the memory that lifted values take while they wait in Python."""

from __future__ import annotations

import functools
from typing import Any

from wasi_trio.component._types import List, Map, Primitive, ValType, children
from wasi_trio.component._values import Err, Ok


@functools.lru_cache(maxsize=4096)
def varies(type_: ValType | None) -> bool:
    """Return whether values of a type vary in size, so that lowering them needs the guest's ``realloc``."""
    match type_:
        case None:
            return False
        case Primitive("string") | List(_, None) | Map():
            return True
        case _:
            return any(varies(child) for child in children(type_))


def weigh(value: Any) -> int:
    """Return the approximate size of a lifted value in bytes."""
    match value:
        case bytes() | str():
            return len(value) + 64
        case tuple() | list():
            return 64 + 8 * len(value) + sum(map(weigh, value))
        case dict():
            return 64 + sum(weigh(key) + weigh(item) for key, item in value.items())
        case Ok(item) | Err(item):
            return 64 + weigh(item)
        case _:
            return 32
