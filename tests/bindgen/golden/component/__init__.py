"""Bindings of the component math.wasm."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import Imports, Instance

from .exported import acme_math_math, world


def imports() -> Imports:
    """What a component of this world imports, to be linked with it.

    A class is called with the instance's context, for each instance; any other object is shared by all.
    """
    found = Imports()
    return found


class Client(world.WorldClient):
    """What one instance exports. Raises LinkError where the component does not export all of it."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.math = acme_math_math.MathClient(instance)
