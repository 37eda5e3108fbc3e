"""Bindings of the world acme:math/calculator@1.0.0."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import Imports, Instance

from .exported import acme_math_math, world


def imports() -> Imports:
    """Return the imports to link a component of this world.

    A class is called with the context of each instance. All instances share any other object.
    """
    found = Imports()
    return found


class Client(world.WorldClient):
    """The exports of one instance. Raises LinkError if the component lacks any of them."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.math = acme_math_math.MathClient(instance)
