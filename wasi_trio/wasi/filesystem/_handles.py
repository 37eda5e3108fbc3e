"""Descriptors of the host, each closed by its last user."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class Handle:
    """A descriptor with a count of its users. The creator is the first user. Garbage collection also closes it.

    So a descriptor that a thread opens for a cancelled task does not leak.
    """

    __slots__ = ("_lock", "_users", "fd", "on_close")

    def __init__(self, fd: int, on_close: Callable[[], None] | None = None) -> None:
        self.fd = fd
        self.on_close = on_close
        self._users = 1
        self._lock = threading.RLock()  # garbage collection may end a lease in any thread

    def retain(self) -> Handle:
        """Add a user."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Remove a user, and close the descriptor after the last one."""
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
    """A use of a handle that ends with this object. It serves threads that may outlive their task."""

    __slots__ = ("_handle", "fd")

    def __init__(self, handle: Handle) -> None:
        self._handle = handle.retain()
        self.fd = handle.fd

    def __del__(self) -> None:
        self._handle.release()
