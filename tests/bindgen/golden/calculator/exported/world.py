"""The functions of the world itself, as a component exports it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import InterfaceClient, TypedInterface

from .._wit import WIT

INTERFACE = TypedInterface(
    "",
    WIT,
    {},
    [],
    "bindings:world/world-exports",
)


class WorldClient(InterfaceClient):
    """Client of the world."""

    async def twice(self, n: int) -> int:
        return await self._call("twice", n)


WorldClient.INTERFACE = INTERFACE
