"""Access from Python to a guest's linear memory."""

from __future__ import annotations

import ctypes

from wasi_trio.component._errors import Trap
from wasi_trio.runtime import _ffi as ffi

#: A 32-bit memory cannot grow beyond this size. The engine reserves address space for all of it, so the base never
#: moves and one window is valid for the memory's whole life.
_Window = ctypes.c_ubyte * (1 << 32)


class LinearMemory:
    """A window on a linear memory. See ``component._context.Memory``.

    The window dangles after the store is deleted, so ``close`` must be called before.
    """

    __slots__ = ("_context", "_extern", "_pointer", "size", "view")

    def __init__(self, context: int, extern: ctypes.Array[ctypes.c_char]) -> None:
        self._context = context
        self._extern = extern
        self._pointer = ctypes.addressof(extern) + ffi.PAYLOAD
        base = ffi.memory_data(context, self._pointer)
        self.size: int = ffi.memory_data_size(context, self._pointer)
        # A memory with a maximum of zero pages has no base.
        window = _Window.from_address(base) if base else (ctypes.c_ubyte * 0)()
        self.view = memoryview(window).cast("B")

    def require(self, end: int) -> None:
        self.size = ffi.memory_data_size(self._context, self._pointer)
        if end > self.size:
            raise Trap("out of bounds memory access: a pointer and length from the guest exceed its memory")

    def close(self) -> None:
        self.size = 0
        self.view.release()
