"""test:older/store@0.1.0, as a component exports it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import InterfaceClient, TypedInterface

from .._wit import WIT

INTERFACE = TypedInterface(
    "test:older/store@0.1.0",
    WIT,
    {},
)


class StoreClient(InterfaceClient):
    """Client of test:older/store@0.1.0."""

    async def get(self, key: str) -> str | None:
        return await self._call("get", key)


StoreClient.INTERFACE = INTERFACE
