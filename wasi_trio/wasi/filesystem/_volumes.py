"""The choice between the event loop and a thread for work on files.

A thread hop costs as much as a read of two megabytes from the page cache. So work on a local disk is done on the loop.
Work that may take long goes to a thread:

* all work on a network or user-space filesystem, and on any other that is not known to be local;
* paths to another mount than that of their directory, which the kernel is told to avoid;
* reads of data that is not in memory (``RWF_NOWAIT``), and operations that wait for the disk (``sync``);
* all work on a disk after a slow operation, until a number of consecutive operations were short. That number grows
  with each slow operation.

An abandoned thread (its task was cancelled) runs to its end. So each volume has its own limit of threads, and a volume
that hangs does not block others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

import trio

from wasi_trio.wasi._threads import in_thread
from wasi_trio.wasi.filesystem import _libc as libc

T = TypeVar("T")

#: seconds. After an operation that takes longer, work on the volume goes to threads. A smaller limit would confuse a
#: slow disk with a busy processor, or with a thread that holds Python's lock.
SLOW_SECONDS = 0.02
#: the number of consecutive short operations that end this: initially, and at most
PROBATION = (8, 64)
#: maximum number of threads of a volume, per trio.run
THREADS = 16

_TMPFS, _RAMFS = 0x01021994, 0x858458F6
#: filesystems in memory, which wait for no disk
_IN_MEMORY = frozenset({_TMPFS, _RAMFS})
#: local filesystems by their numbers in Linux (linux/magic.h): ext, XFS, Btrfs, F2FS, ZFS, bcachefs, overlayfs,
#: SquashFS, EROFS, and those in memory
_LOCAL = _IN_MEMORY | {
    0xEF53,
    0x58465342,
    0x9123683E,
    0xF2F52010,
    0x2FC12FC1,
    0xCA451A4E,
    0x794C7630,
    0x73717368,
    0xE0F5E1E2,
}

_volumes: dict[int, Volume] = {}
_limiters: trio.lowlevel.RunVar[dict[int, trio.CapacityLimiter]] = trio.lowlevel.RunVar("wasi_trio_volume_limiters")


class Volume:
    """A mounted filesystem.

    ``local`` means that operations are short, unless recent ones were not. ``in_memory`` means that even ``sync`` is.
    """

    __slots__ = ("_probation", "_remaining", "device", "in_memory", "local", "supports_nowait")

    def __init__(self, device: int, *, local: bool, in_memory: bool) -> None:
        self.device = device
        self.local = local
        self.in_memory = in_memory
        #: whether reads support RWF_NOWAIT; the first attempt tells
        self.supports_nowait = hasattr(os, "RWF_NOWAIT")
        self._probation = PROBATION[0]
        self._remaining = 0

    @property
    def quick(self) -> bool:
        """Whether work may run on the loop."""
        return self.local and not self._remaining

    def record_duration(self, seconds: float) -> None:
        """Record the duration of an operation. Callable from any thread."""
        if seconds > SLOW_SECONDS:
            if not self._remaining:  # on the loop: avoid the loop for longer than before
                self._probation = min(2 * self._probation, PROBATION[1])
            self._remaining = self._probation
        elif self._remaining:
            self._remaining -= 1
        elif self._probation > PROBATION[0]:
            self._probation -= 1

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Call ``work`` in a thread. After a cancellation the work continues, and its result is dropped.

        Under a MockClock, call it here. Such a clock would consider the loop idle during the thread's work, and jump
        ahead.
        """
        if _uses_mock_clock():
            return work()
        limiters = _limiters.get({})
        limiter = limiters.get(self.device)
        if limiter is None:
            limiter = limiters[self.device] = trio.CapacityLimiter(THREADS)
            _limiters.set(limiters)
        return await in_thread(work, limiter)


def _uses_mock_clock() -> bool:
    testing = sys.modules.get("trio.testing")
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)


def volume_of(fd: int, device: int) -> Volume:
    """Return the volume of ``fd``, whose device number (``st_dev``) is ``device``. May block if it is not local."""
    magic = libc.filesystem_magic(fd)
    # Other systems have no common way to tell the kind. There, slow operations tell.
    local = magic in _LOCAL if sys.platform.startswith("linux") else True
    in_memory = magic in _IN_MEMORY
    known = _volumes.get(device)
    # The system may reuse the number of an unmounted device.
    if known is None or (known.local, known.in_memory) != (local, in_memory):
        known = _volumes[device] = Volume(device, local=local, in_memory=in_memory)
    return known
