"""Handle tables ("Table State" and "Resource State" of the Canonical ABI)."""

from __future__ import annotations

from typing import Any

from wasi_trio.component._account import HANDLE, Account
from wasi_trio.component._errors import Trap
from wasi_trio.component._types import ResourceType

#: Table.MAX_LENGTH of the Canonical ABI. HandleTable's limit on a guest is far lower.
MAX_HANDLE = 2**28 - 1


class ResourceHandle:
    """An element of a handle table: the right to use one resource.

    ``rep`` is the resource's representation for its implementer: any Python object for a host's resource, an i32 for a
    guest's. ``lends`` counts the active borrows of an owned handle. ``scope`` is the call before whose end a borrowed
    handle must be dropped.
    """

    __slots__ = ("lends", "own", "rep", "resource", "scope")

    def __init__(self, resource: ResourceType, rep: Any, own: bool, scope: BorrowScope | None = None) -> None:
        self.resource = resource
        self.rep = rep
        self.own = own
        self.scope = scope
        self.lends = 0


class BorrowScope:
    """A call into a guest with lent handles. It cannot end while the guest still holds one."""

    __slots__ = ("borrows",)

    def __init__(self) -> None:
        self.borrows = 0


class HandleTable:
    """The handles of one component instance. Index 0 is unused, and the last freed index is reused first.

    ``limit`` is the maximum number of handles. ``account`` counts the highest number that the guest held at once,
    including the small objects behind the handles.
    """

    __slots__ = ("account", "entries", "free", "limit")

    def __init__(self, limit: int = 1_000_000, account: Account | None = None) -> None:
        self.entries: list[Any] = [None]
        self.free: list[int] = []
        self.limit = limit
        self.account = Account() if account is None else account

    def add(self, entry: Any) -> int:
        free = self.free
        if free:
            index = free.pop()
            self.entries[index] = entry
            return index
        index = len(self.entries)
        if index > self.limit:
            raise Trap(f"too many handles: an instance may hold at most {self.limit}")
        self.account.charge(HANDLE)
        self.entries.append(entry)
        return index

    def get(self, index: int) -> Any:
        if index < len(self.entries):
            entry = self.entries[index]
            if entry is not None:
                return entry
        raise Trap(f"unknown handle index {index}")

    def remove(self, index: int) -> Any:
        entry = self.get(index)
        self.entries[index] = None
        self.free.append(index)
        return entry

    def resource(self, index: int, resource: ResourceType) -> ResourceHandle:
        """Return the handle at ``index``, which must refer to a resource of exactly this type."""
        entries = self.entries
        if index < len(entries):
            handle = entries[index]
            if handle.__class__ is ResourceHandle and handle.resource is resource:
                return handle
        found = self.get(index)
        if isinstance(found, ResourceHandle):
            expected, actual = _described(resource), _described(found.resource)
            other = f"a different {actual}" if actual == expected else actual
            raise Trap(f"handle index {index} used with the wrong type, expected {expected} but found {other}")
        raise Trap(f"handle index {index} is not a resource")

    def lift_own(self, index: int, resource: ResourceType) -> Any:
        """Remove an owned handle from the table and return its rep (``lift_own``)."""
        handle = self.resource(index, resource)
        if handle.lends:
            raise Trap(f"cannot remove owned resource while borrowed (handle index {index})")
        if not handle.own:
            raise Trap(f"handle index {index} is borrowed, but an owned handle is required")
        self.entries[index] = None
        self.free.append(index)
        return handle.rep

    def __iter__(self) -> Any:
        return (entry for entry in self.entries if entry is not None)

    def __len__(self) -> int:
        return len(self.entries) - 1 - len(self.free)


def _described(resource: ResourceType) -> str:
    """Return a type's name for messages. A type that a guest defines has no name."""
    return resource.name if resource.owner is None else "guest-defined resource"
