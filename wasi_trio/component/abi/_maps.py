"""Maps: lists of pairs in the Canonical ABI, dicts in Python ("Specialized value types" of the Explainer).

If a guest's list repeats a key, the last pair counts. From one component to another, all pairs are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasi_trio.component._types import Map
from wasi_trio.component.abi._checks import mismatch


class RepeatedKeys(dict[Any, Any]):
    """A map that was lifted from a list with repeated keys: a dict that also keeps the list in ``pairs``."""

    __slots__ = ("pairs",)

    pairs: list[tuple[Any, Any]]


def from_pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the dict for a guest's list of pairs."""
    lifted = dict(pairs)
    if len(lifted) != len(pairs):
        lifted = RepeatedKeys(lifted)
        lifted.pairs = pairs
    return lifted


def to_pairs(value: Any, type_: Map) -> list[tuple[Any, Any]]:
    """Return the pairs of a ``map``'s value, which is a mapping or a list of pairs. The list may repeat a key."""
    if isinstance(value, list):
        return value
    if isinstance(value, RepeatedKeys) and dict(value.pairs) == value:  # differs if the host has changed the dict
        return value.pairs
    if not isinstance(value, Mapping):
        raise mismatch(type_, value)
    return list(value.items())
