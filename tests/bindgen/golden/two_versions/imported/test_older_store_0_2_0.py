"""test:older/store@0.2.0, as a host provides it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from typing import NamedTuple, Protocol

from wasi_trio.bindings import Returns, TypedInterface

from .._wit import WIT


class Entry(NamedTuple):
    """The record ``entry``."""

    value: str


class Store(Protocol):
    """The host functions of test:older/store@0.2.0."""

    def get(self, key: str, /) -> Returns[Entry | None]: ...


INTERFACE = TypedInterface(
    "test:older/store@0.2.0",
    WIT,
    {
        "entry": Entry,
    },
)
