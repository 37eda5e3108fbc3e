"""The imports and exports of relinked core modules, by which the host instantiates them."""

from __future__ import annotations

from typing import NamedTuple

from wasi_trio.component._plan import CoreItem

#: The import module name for all functions of canonical definitions.
CANON = "canon"


class Wiring(NamedTuple):
    """The imports of a relinked module, and the exports by which the host finds the module's memories and tables.

    A ``CoreExport`` is imported from the module ``slot_name(slot)`` under its own name. A ``CanonFunc`` is imported
    from ``CANON`` under its number.
    """

    imports: tuple[CoreItem, ...]
    #: The export names of the memories and tables that the module defines.
    memories: tuple[bytes, ...]
    tables: tuple[bytes, ...]
    #: The initial size of the module's memories in bytes.
    memory_size: int


def slot_name(slot: int) -> str:
    """Return the import module name for the exports of the core instance in a slot."""
    return str(slot)
