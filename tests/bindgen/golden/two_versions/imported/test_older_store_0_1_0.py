"""test:older/store@0.1.0, as a host provides it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from typing import Protocol

from wasi_trio.bindings import Returns, TypedInterface

from .._wit import WIT


class Store(Protocol):
    """The host functions of test:older/store@0.1.0."""

    def get(self, key: str, /) -> Returns[str | None]: ...


INTERFACE = TypedInterface(
    "test:older/store@0.1.0",
    WIT,
    {},
)
