"""A limit on the file descriptors that guests use, across the whole process.

Files, sockets and connections of outgoing requests count towards one limit. So guests leave enough descriptors for
incoming connections and for the rest of the process.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import threading
from collections.abc import Callable

#: the share of guests, in quarters of the process's descriptors
_QUARTERS = 3
#: the highest limit to request from the system
_MAX_LIMIT = 1 << 20


class Share:
    """The descriptors of all guests: at most three quarters of the process's limit."""

    __slots__ = ("_lock", "count", "spare")

    def __init__(self) -> None:
        #: the number of descriptors in use
        self.count = 0
        #: owners of idle descriptors; each callback closes one idle descriptor and returns whether it did
        self.spare: dict[object, Callable[[], bool]] = {}
        self._lock = threading.RLock()  # garbage collection may close a handle in any thread, even within this class

    @property
    def limit(self) -> float:
        """The current limit. The system's limit can change at any time."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return math.inf if limit == resource.RLIM_INFINITY else limit * _QUARTERS // 4

    def reserve(self) -> None:
        """Reserve a descriptor before it is opened. Raises OSError (EMFILE) at the limit."""
        with self._lock:
            if self.count >= self.limit and not any(give() for give in list(self.spare.values())):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.count += 1

    def release(self) -> None:
        """Release a descriptor. Callable from any thread."""
        with self._lock:
            self.count -= 1


GUESTS = Share()


def raise_limit() -> None:
    """Raise this process's limit of file descriptors to its hard limit, at most 1,048,576."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _MAX_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS may refuse its own hard limit.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
