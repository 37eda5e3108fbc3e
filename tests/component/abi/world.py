"""A guest that consists of a memory, its allocator and a handle table."""

from __future__ import annotations

from typing import Any

from wasi_trio.component._context import Context
from wasi_trio.component._errors import Trap
from wasi_trio.component._handles import BorrowScope, HandleTable


class ByteMemory:
    """A memory of ``size`` bytes inside a larger window, whose other bytes must not be touched."""

    def __init__(self, size: int, stale: int = 0) -> None:
        self.real_size = size
        self.buffer = bytearray(size + 4096)
        self.buffer[size:] = b"\xee" * 4096
        self.view = memoryview(self.buffer)
        #: The size at the last update, which is stale if the memory has grown since.
        self.size = size - stale

    def require(self, end: int) -> None:
        self.size = self.real_size
        if end > self.size:
            raise Trap("out of bounds memory access")


class Guest:
    def __init__(self, size: int = 1 << 16, stale: int = 0) -> None:
        self.memory = ByteMemory(size, stale)
        self.handles = HandleTable()
        self.cx = Context(self.handles, self.memory, self.realloc)
        self.cx.scope = BorrowScope()
        self.next = 8
        #: The alignment and size of each allocation.
        self.allocations: list[tuple[int, int]] = []

    def realloc(self, old: int, old_size: int, alignment: int, size: int) -> int:
        assert (old, old_size) == (0, 0)
        self.allocations.append((alignment, size))
        pointer = (self.next + alignment - 1) & -alignment
        self.next = pointer + size
        return pointer

    def put(self, data: bytes, alignment: int = 1) -> int:
        """Write into memory as the guest would, and return the address."""
        pointer = self.realloc(0, 0, alignment, len(data))
        self.memory.buffer[pointer : pointer + len(data)] = data
        return pointer

    def check_window(self) -> None:
        """Check that nothing was written past the memory's end."""
        assert self.memory.buffer[self.memory.real_size :] == b"\xee" * 4096


class Converting:
    """A context with other conversions. Python cannot extend the class of a compiled context."""

    def __init__(self, guest: Guest) -> None:
        self._context = guest.cx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class Slots(dict[int, Any]):
    """Core values with a stride, whose gaps must not be touched."""

    def __init__(self, values: list[int], stride: int = 1, garbage: int = 0) -> None:
        super().__init__({stride * i: value | garbage for i, value in enumerate(values)})
