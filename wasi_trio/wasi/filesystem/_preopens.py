"""The directories that a guest is given at first."""

from __future__ import annotations

import os
from collections.abc import Iterable

from wasi_trio.wasi._arguments import Directory
from wasi_trio.wasi.filesystem._handles import Handle
from wasi_trio.wasi.filesystem._volumes import Volume, volume_of


class Preopen:
    """A directory of the host's for guests, which know it as ``guest``; by default that is the same path.

    The directory is opened here and now, once for all instances, and stays the same one if it is moved or replaced.
    It is closed with the last of who uses this object. A guest can change nothing in one that is ``read_only``. Raises
    OSError for what is no directory, or cannot be read.
    """

    __slots__ = ("guest", "handle", "host", "read_only", "status", "volume")

    def __init__(self, host: str | os.PathLike[str], guest: str | None = None, *, read_only: bool = False) -> None:
        self.host = os.fspath(host)
        self.guest = self.host if guest is None else guest
        self.read_only = read_only
        # Not to wait for the other end of a pipe, if that is what it is.
        self.handle = Handle(os.open(self.host, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
        self.status = os.fstat(self.handle.fd)
        self.volume: Volume = volume_of(self.handle.fd, self.status.st_dev)

    def __repr__(self) -> str:
        return f"Preopen({self.host!r}, {self.guest!r}{', read_only=True' if self.read_only else ''})"


def open_directories(directories: Iterable[Directory]) -> tuple[Preopen, ...]:
    """What the options ``--dir`` name. Raises OSError."""
    return tuple(Preopen(each.host, each.guest, read_only=each.read_only) for each in directories)
