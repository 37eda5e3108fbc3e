"""own, as a component exports it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import InterfaceClient, TypedInterface

from .._wit import WIT

INTERFACE = TypedInterface(
    "own",
    WIT,
    {},
    [],
    "bindings:world/exported-own",
)


class OwnClient(InterfaceClient):
    """Client of own."""

    async def go(self) -> None:
        await self._do("go")


OwnClient.INTERFACE = INTERFACE
