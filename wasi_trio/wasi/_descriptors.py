"""The file descriptors of this process, and how many of them its guests may have.

What a guest has the host open (files, sockets, connections of its requests) counts in one number for the whole process.
So however many guests there are, enough is left to accept connections, and for whatever else the process does.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import threading
from collections.abc import Callable

#: of each four descriptors of the process, the number that guests may have
_OF_FOUR = 3
#: the most to ask the system for
_MOST = 1 << 20


class Share:
    """The descriptors of all guests: at most three quarters of those that the system lets the process have."""

    __slots__ = ("_lock", "count", "spare")

    def __init__(self) -> None:
        #: how many there are
        self.count = 0
        #: those that hold some for later use: asked for one, each closes it, which releases it, and says whether it did
        self.spare: dict[object, Callable[[], bool]] = {}
        self._lock = threading.RLock()  # a handle may be collected, and closed, anywhere

    @property
    def limit(self) -> float:
        """How many there may be; the system's limit may change at any time."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return math.inf if limit == resource.RLIM_INFINITY else limit * _OF_FOUR // 4

    def reserve(self) -> None:
        """Count one more, which is about to be opened; raises OSError (EMFILE) where there are as many as may be."""
        with self._lock:
            if self.count >= self.limit and not any(give() for give in list(self.spare.values())):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.count += 1

    def release(self) -> None:
        """One less; may be called in any thread."""
        with self._lock:
            self.count -= 1


GUESTS = Share()


def raise_limit() -> None:
    """Let this process have as many file descriptors as it may give itself, up to a million."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS may refuse its own hard limit.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
