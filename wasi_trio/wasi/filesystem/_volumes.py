"""Where work on files is done: on the event loop, or in a thread.

A hop to a thread and back costs as much as reading two megabytes that the system has in memory. So work on a local disk
is done there and then, on the loop. It goes to a thread where it may take long:

* on a network or user-space filesystem, and on any that is not known to be local;
* on another mount than that of the directory a path starts at, which the kernel is told not to touch;
* for what a file holds that is not in memory (``RWF_NOWAIT``), and for whatever waits for the disk itself (``sync``);
* on a disk on which something has just taken long, whatever the reason, until so many things in a row have been short:
  a few if that was an event, and ever more where it happens again and again.

Threads that are given up (their task was cancelled) go on to their end. So each volume has a limited number of its own:
one that hangs does not keep others from being read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

import trio

from wasi_trio.wasi.filesystem import _libc as libc

T = TypeVar("T")

#: work that takes longer, in seconds, has what follows on the same volume done in threads ...
#: (Less would not tell a disk from a processor that is busy with something else, or a thread that has Python's lock.)
LONG = 0.02
#: ... until so many things in a row have been short: at first, and at the most
PROBATION = (8, 64)
#: threads that one volume may keep busy, in one trio.run
THREADS = 16

_TMPFS, _RAMFS = 0x01021994, 0x858458F6
#: filesystems in memory, where there is no disk to wait for
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
    """A filesystem that is mounted.

    ``local`` says that work on it is short unless it was not of late; ``in_memory``, that even writing it out is.
    """

    __slots__ = ("_left", "_probation", "device", "in_memory", "local", "tells_what_waits")

    def __init__(self, device: int, *, local: bool, in_memory: bool) -> None:
        self.device = device
        self.local = local
        self.in_memory = in_memory
        #: whether reads may ask not to wait for the disk; found out by trying
        self.tells_what_waits = hasattr(os, "RWF_NOWAIT")
        self._probation = PROBATION[0]
        self._left = 0

    @property
    def quick(self) -> bool:
        """Whether work may be done on the loop."""
        return self.local and not self._left

    def took(self, seconds: float) -> None:
        """Work is done, which took so long; may be called in any thread."""
        if seconds > LONG:
            if not self._left:  # on the loop: to be avoided for longer than before
                self._probation = min(2 * self._probation, PROBATION[1])
            self._left = self._probation
        elif self._left:
            self._left -= 1
        elif self._probation > PROBATION[0]:
            self._probation -= 1

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do ``work`` in a thread. When this is cancelled the work goes on, and what it gives is dropped.

        Under a test's clock it is done here: such a clock takes the loop for idle meanwhile, and goes on to the next
        deadline.
        """
        if _time_is_a_test_s():
            return work()
        limiters = _limiters.get({})
        limiter = limiters.get(self.device)
        if limiter is None:
            limiter = limiters[self.device] = trio.CapacityLimiter(THREADS)
            _limiters.set(limiters)
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)


def _time_is_a_test_s() -> bool:
    testing = sys.modules.get("trio.testing")
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)


def volume_of(fd: int, device: int) -> Volume:
    """The volume that ``fd`` is on, whose number (``st_dev``) is ``device``. May take long where it is not local."""
    magic = libc.filesystem_magic(fd)
    # Other systems do not tell in a way that is the same on all of them: there, it shows when something takes long.
    local = magic in _LOCAL if sys.platform.startswith("linux") else True
    in_memory = magic in _IN_MEMORY
    known = _volumes.get(device)
    # A number may come to stand for something else, once what had it is unmounted.
    if known is None or (known.local, known.in_memory) != (local, in_memory):
        known = _volumes[device] = Volume(device, local=local, in_memory=in_memory)
    return known
