"""named, as a host provides it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from wasi_trio.bindings import Returns, TypedInterface

from .._wit import WIT
from .test_all_types import INTERFACE as _test_all_types
from .test_all_types import Point


class Setting(NamedTuple):
    """The record ``setting``."""

    name: str
    value: Point


class Named(Protocol):
    """The host functions of named."""

    def all(self, /) -> Returns[Sequence[Setting]]: ...


INTERFACE = TypedInterface(
    "named",
    WIT,
    {
        "setting": Setting,
    },
    [
        _test_all_types,
    ],
    "bindings:world/imported-named",
)
