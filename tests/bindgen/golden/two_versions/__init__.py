"""Bindings of the world test:all/two-versions@2.0.0."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import Implementation, Imports, Instance

from .exported import test_older_store_0_1_0 as exported_test_older_store_0_1_0
from .exported import test_older_store_0_2_0 as exported_test_older_store_0_2_0
from .imported import test_older_store_0_1_0 as imported_test_older_store_0_1_0
from .imported import test_older_store_0_2_0 as imported_test_older_store_0_2_0
from .imported import world as imported_world


def imports(
    *,
    test_older_store_0_2_0: Implementation[imported_test_older_store_0_2_0.Store],
    test_older_store_0_1_0: Implementation[imported_test_older_store_0_1_0.Store],
    world: Implementation[imported_world.World],
) -> Imports:
    """Return the imports to link a component of this world.

    A class is called with the context of each instance. All instances share any other object.
    """
    found = Imports()
    found.add("test:older/store@0.2.0", test_older_store_0_2_0, imported_test_older_store_0_2_0.INTERFACE)
    found.add("test:older/store@0.1.0", test_older_store_0_1_0, imported_test_older_store_0_1_0.INTERFACE)
    found.add("", world, imported_world.INTERFACE)
    return found


class Client:
    """The exports of one instance. Raises LinkError if the component lacks any of them."""

    def __init__(self, instance: Instance) -> None:
        self.test_older_store_0_1_0 = exported_test_older_store_0_1_0.StoreClient(instance)
        self.test_older_store_0_2_0 = exported_test_older_store_0_2_0.StoreClient(instance)
