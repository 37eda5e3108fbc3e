"""The initial directories of a guest."""

from __future__ import annotations

import os
from collections.abc import Iterable

from wasi_trio.wasi._arguments import Directory
from wasi_trio.wasi.filesystem._handles import Handle
from wasi_trio.wasi.filesystem._volumes import Volume, volume_of


class Preopen:
    """A directory of the host that guests see as ``guest``; the default is the same path.

    The constructor opens the directory once for all instances. Guests keep this directory even if it is moved or
    replaced. Its last user closes it. Guests cannot change a ``read_only`` directory. Raises OSError if the path is not
    a readable directory.
    """

    __slots__ = ("guest", "handle", "host", "read_only", "status", "volume")

    def __init__(self, host: str | os.PathLike[str], guest: str | None = None, *, read_only: bool = False) -> None:
        self.host = os.fspath(host)
        self.guest = self.host if guest is None else guest
        self.read_only = read_only
        # O_NONBLOCK, because the path may be a FIFO.
        self.handle = Handle(os.open(self.host, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK))
        self.status = os.fstat(self.handle.fd)
        self.volume: Volume = volume_of(self.handle.fd, self.status.st_dev)

    def __repr__(self) -> str:
        return f"Preopen({self.host!r}, {self.guest!r}{', read_only=True' if self.read_only else ''})"


def open_directories(directories: Iterable[Directory]) -> tuple[Preopen, ...]:
    """Open the directories of the ``--dir`` options. Raises OSError."""
    return tuple(Preopen(each.host, each.guest, read_only=each.read_only) for each in directories)
