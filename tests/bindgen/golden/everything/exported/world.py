"""The functions of the world itself, as a component exports it."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import Err, InterfaceClient, Ok, TypedInterface

from .._wit import WIT
from ..imported.test_all_types import INTERFACE as _test_all_types
from ..imported.world import INTERFACE as _world
from ..imported.world import AnyThing, Pair

INTERFACE = TypedInterface(
    "",
    WIT,
    {},
    [
        _world,
        _test_all_types,
    ],
    "bindings:world/world-exports",
)


class WorldClient(InterfaceClient):
    """Client of the world."""

    async def run(self, what: Pair) -> Ok[AnyThing] | Err[str]:
        """Runs."""
        return await self._call("run", what)


WorldClient.INTERFACE = INTERFACE
