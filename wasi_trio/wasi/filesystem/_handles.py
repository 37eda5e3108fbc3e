"""Descriptors of the host's, each closed when the last of its users is done with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class Handle:
    """A descriptor and how many use it: whoever makes it at first. What nothing refers to any more is closed as well.

    So a descriptor that a thread was still to give to a task which is gone by then is not left behind.
    """

    __slots__ = ("_lock", "_users", "fd", "on_close")

    def __init__(self, fd: int, on_close: Callable[[], None] | None = None) -> None:
        self.fd = fd
        self.on_close = on_close
        self._users = 1
        self._lock = threading.RLock()  # a lease may be collected anywhere

    def retain(self) -> Handle:
        """One more uses it."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """One uses it no more."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._close()

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            if self.on_close is not None:
                self.on_close()

    def __del__(self) -> None:
        self._close()


class Lease:
    """A use of a handle for as long as something refers to this; for a thread of which nobody knows when it ends."""

    __slots__ = ("_handle", "fd")

    def __init__(self, handle: Handle) -> None:
        self._handle = handle.retain()
        self.fd = handle.fd

    def __del__(self) -> None:
        self._handle.release()
