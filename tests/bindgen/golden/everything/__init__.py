"""Bindings of the world test:all/everything@1.2.3."""

# Written by wasi_trio bindgen, and overwritten when that is run again.

from __future__ import annotations

from wasi_trio.bindings import Implementation, Imports, Instance

from .exported import own
from .exported import test_all_later as exported_test_all_later
from .exported import test_all_types as exported_test_all_types
from .exported import world as exported_world
from .imported import named as imported_named
from .imported import primary as imported_primary
from .imported import test_all_later, test_all_types
from .imported import world as imported_world


def imports(
    *,
    types: Implementation[test_all_types.Types],
    later: Implementation[test_all_later.Later],
    named: Implementation[imported_named.Named],
    primary: Implementation[imported_primary.Primary],
    world: Implementation[imported_world.World],
) -> Imports:
    """Return the imports to link a component of this world.

    A class is called with the context of each instance. All instances share any other object.
    """
    found = Imports()
    found.add("test:all/types@1.2.3", types, test_all_types.INTERFACE)
    found.add("test:all/later@1.2.3", later, test_all_later.INTERFACE)
    found.add("named", named, imported_named.INTERFACE)
    found.add("primary", primary, imported_primary.INTERFACE)
    found.add("", world, imported_world.INTERFACE)
    return found


class Client(exported_world.WorldClient):
    """The exports of one instance. Raises LinkError if the component lacks any of them."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self.types = exported_test_all_types.TypesClient(instance)
        self.later = exported_test_all_later.LaterClient(instance)
        self.own = own.OwnClient(instance)
