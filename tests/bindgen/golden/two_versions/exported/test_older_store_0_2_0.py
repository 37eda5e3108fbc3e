"""test:older/store@0.2.0, as a component exports it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from typing import NamedTuple

from wasi_trio.bindings import InterfaceClient, TypedInterface

from .._wit import WIT


class Entry(NamedTuple):
    """The record ``entry``."""

    value: str


INTERFACE = TypedInterface(
    "test:older/store@0.2.0",
    WIT,
    {
        "entry": Entry,
    },
)


class StoreClient(InterfaceClient):
    """Client of test:older/store@0.2.0."""

    async def get(self, key: str) -> Entry | None:
        return await self._call("get", key)


StoreClient.INTERFACE = INTERFACE
