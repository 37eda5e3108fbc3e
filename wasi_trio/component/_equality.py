"""The equality of types that are compared for each stream and future."""

from __future__ import annotations

from wasi_trio.component._types import ValType

_compared: dict[tuple[int, int], tuple[ValType | None, ValType | None, bool]] = {}


def same(one: ValType | None, other: ValType | None) -> bool:
    """Return whether two types are equal, as ``==`` does. The result is cached for types that are compared often."""
    if one is other:
        return True
    key = (id(one), id(other))
    known = _compared.get(key)
    if known is None:
        if len(_compared) >= 4096:
            _compared.clear()
        # The types are kept alive, so that no other type gets the same ids.
        known = _compared[key] = (one, other, one == other)
    return known[2]
