"""Maps: lists of pairs in the Canonical ABI, dicts in Python ("Specialized value types" of the Explainer).

A guest's list may repeat a key, of which the last pair counts. From one component to another all of it is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasi_trio.component._types import Map
from wasi_trio.component.abi._checks import mismatch


class RepeatedKeys(dict[Any, Any]):
    """A map that came with some keys repeated: a dict as any, that remembers ``pairs``."""

    __slots__ = ("pairs",)

    pairs: list[tuple[Any, Any]]


def from_pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """The dict that a guest's pairs stand for."""
    lifted = dict(pairs)
    if len(lifted) != len(pairs):
        lifted = RepeatedKeys(lifted)
        lifted.pairs = pairs
    return lifted


def to_pairs(value: Any, type_: Map) -> list[tuple[Any, Any]]:
    """The pairs of a ``map``'s value: a mapping, or a list of pairs, which may repeat a key."""
    if isinstance(value, list):
        return value
    if isinstance(value, RepeatedKeys) and dict(value.pairs) == value:  # not so if the host has changed it since
        return value.pairs
    if not isinstance(value, Mapping):
        raise mismatch(type_, value)
    return list(value.items())
