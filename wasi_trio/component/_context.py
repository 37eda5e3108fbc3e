"""The inputs of lifting and lowering besides values ("Lifting and Lowering Context" of the Canonical ABI)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wasi_trio.component._account import as_size
from wasi_trio.component._equality import same
from wasi_trio.component._errors import HostError, Trap
from wasi_trio.component._handles import BorrowScope, HandleTable, ResourceHandle
from wasi_trio.component._types import ResourceType, ValType, same_host_resource

#: The default maximum of bytes that one call may lift, measured as Python objects. A call beyond it traps. Lifting that
#: much takes a few hundredths of a second, during which the event loop waits.
LIFT_FUEL = 16 << 20


class Memory(Protocol):
    """A guest's linear memory.

    ``view`` (format ``B``) starts at the memory's base and may extend far past its end. Only ``[0, size)`` may be
    accessed. Memories never shrink, so a stale ``size`` is safe.
    """

    view: memoryview
    size: int

    def require(self, end: int) -> None:
        """Make sure that ``[0, end)`` is accessible: update ``size`` or raise Trap."""


Realloc = Callable[[int, int, int, int], int]


class Context:
    """The canonical options of one definition in one component instance.

    Each instance has one for each set of options. Calls share it. ``memory`` and ``realloc`` are None if the
    definition has none. Validation ensures that they are not needed then.
    """

    __slots__ = ("admits", "adopt", "fuel", "handles", "instance", "lenders", "memory", "realloc", "scope")

    memory: Memory
    realloc: Realloc

    def __init__(
        self,
        handles: HandleTable,
        memory: Memory | None,
        realloc: Realloc | None,
        instance: Any = None,
        admits: int = LIFT_FUEL,
    ) -> None:
        self.handles = handles
        self.memory = memory  # type: ignore[assignment]
        self.realloc = realloc  # type: ignore[assignment]
        self.instance = instance
        #: Maximum bytes that one call may lift.
        self.admits = admits
        #: Bytes that the current call may still lift.
        self.fuel = admits
        #: Handles lent to the current call. The caller of the lifting function must end the lends after the call.
        self.lenders: list[ResourceHandle] = []
        #: The call whose borrows are being lowered.
        self.scope: BorrowScope | None = None
        #: Converts a lifted stream or future before other Python code gets it, unless None.
        self.adopt: Callable[[Any], Any] | None = None

    def spend(self, amount: int) -> None:
        """Charge ``amount`` bytes to the call's budget. Raises Trap."""
        self.fuel -= amount
        if self.fuel < 0:
            raise Trap(f"a call passed more data than the host admits at once ({as_size(self.admits)})")

    def allocate(self, alignment: int, size: int) -> int:
        """Allocate ``size`` bytes with the guest's own ``realloc``, check the address and return it."""
        pointer = self.realloc(0, 0, alignment, size) & 0xFFFF_FFFF
        if pointer & (alignment - 1):
            raise Trap("realloc return: result not aligned")
        end = pointer + size
        if end > self.memory.size:
            try:
                self.memory.require(end)
            except Trap:
                raise Trap("realloc return: beyond end of memory") from None
        return pointer

    def lend(self, index: int, resource: ResourceType) -> Any:
        """Return the rep behind a handle passed as a borrow, which stays lent until the call ends (``lift_borrow``)."""
        handle = self.handles.resource(index, resource)
        handle.lends += 1
        self.lenders.append(handle)
        return handle.rep

    def lower_own(self, rep: Any, resource: ResourceType) -> int:
        if resource.owner is None and (bill := getattr(rep, "bill", None)) is not None:
            bill(self.handles.account)
        return self.handles.add(ResourceHandle(resource, rep, True))

    def lower_borrow(self, rep: Any, resource: ResourceType) -> int:
        """Add a borrowed handle for the duration of the call ``scope`` (``lower_borrow``)."""
        scope = self.scope
        assert scope is not None, "borrows are lowered only into calls"
        scope.borrows += 1
        return self.handles.add(ResourceHandle(resource, rep, own=False, scope=scope))

    def lift_stream(self, index: int, element: ValType | None) -> Any:
        """Remove a stream's readable end from the guest. Return its ``SharedStream``, or the result of ``adopt``."""
        return self._lift_end("stream", index, element)

    def lift_future(self, index: int, element: ValType | None) -> Any:
        """Remove a future's readable end from the guest. Return its ``SharedFuture``, or the result of ``adopt``."""
        return self._lift_end("future", index, element)

    def _lift_end(self, kind: str, index: int, element: ValType | None) -> Any:
        end = self.handles.get(index)
        if getattr(end, "readable", None) != kind:
            raise Trap(f"handle index {index} is not the readable end of a {kind}")
        if not same(end.shared.element.type, element):
            raise Trap(f"handle index {index} used with the wrong type of {kind}")
        shared = end.give_up()
        self.handles.remove(index)
        return shared if self.adopt is None else self.adopt(shared)

    def lower_stream(self, value: Any, element: ValType | None) -> int:
        """Add a handle for the readable end of a stream, given as an object with ``into_shared()``."""
        return self._lower_end("stream", value, element)

    def lower_future(self, value: Any, element: ValType | None) -> int:
        """Add a handle for the readable end of a future, given as an object with ``into_shared()``."""
        return self._lower_end("future", value, element)

    def _lower_end(self, kind: str, value: Any, element: ValType | None) -> int:
        into_shared = getattr(value, "into_shared", None)
        shared = None if into_shared is None else into_shared()
        if shared is None or shared.kind != kind:
            raise HostError(f"a {kind} cannot be made from a Python {type(value).__name__}")
        if not same(shared.element.type, element):
            if not same_host_resource(shared.element.type, element):
                raise HostError(f"the {kind} has elements of another type than the function declares")
            shared.become(element)
        shared.hold()
        end = shared.readable_end(self.instance)
        end.index = index = self.handles.add(end)
        return index

    def lift_error_context(self, index: int) -> Any:
        """Return the error context behind a handle, which remains valid."""
        error = self.handles.get(index)
        if not hasattr(error, "debug_message"):
            raise Trap(f"handle index {index} is not an error context")
        return error

    def lower_error_context(self, value: Any) -> int:
        if not hasattr(value, "debug_message"):
            raise HostError(f"an error-context cannot be made from a Python {type(value).__name__}")
        return self.handles.add(value)
