"""The functions and resources of the world itself, as a host provides it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from typing import Protocol

from wasi_trio.bindings import Returns, TypedInterface

from .._wit import WIT


class World(Protocol):
    """The host functions of the world itself."""

    def new_name(self, /) -> Returns[None]: ...

    def other(self, /) -> Returns[None]: ...


INTERFACE = TypedInterface(
    "",
    WIT,
    {},
    [],
    "bindings:world/world-itself",
)
