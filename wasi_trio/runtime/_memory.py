"""A guest's linear memory as Python reaches it."""

from __future__ import annotations

import ctypes

from wasi_trio.component._errors import Trap
from wasi_trio.runtime import _ffi as ffi

#: A 32-bit memory cannot grow past this, and the engine reserves the address space for all of it at once, so
#: its base never moves and one window serves for the memory's whole life.
_Window = ctypes.c_ubyte * (1 << 32)


class LinearMemory:
    """A window on a linear memory; see ``component._context.Memory``.

    It dangles once the store is gone: ``close`` must come first.
    """

    __slots__ = ("_context", "_extern", "_pointer", "size", "view")

    def __init__(self, context: int, extern: ctypes.Array[ctypes.c_char]) -> None:
        self._context = context
        self._extern = extern
        self._pointer = ctypes.addressof(extern) + ffi.PAYLOAD
        base = ffi.memory_data(context, self._pointer)
        self.size: int = ffi.memory_data_size(context, self._pointer)
        # A memory that may not grow past zero pages has no base.
        window = _Window.from_address(base) if base else (ctypes.c_ubyte * 0)()
        self.view = memoryview(window).cast("B")

    def require(self, end: int) -> None:
        self.size = ffi.memory_data_size(self._context, self._pointer)
        if end > self.size:
            raise Trap("out of bounds memory access: a pointer and length from the guest reach past its memory")

    def close(self) -> None:
        self.size = 0
        self.view.release()
