"""Conversions between this package's types and the types that wasi:filesystem 0.2 and 0.3 share."""

from __future__ import annotations

import errno
import functools
import stat

from wasi_trio.component._values import Variant
from wasi_trio.wasi._clocks import SECOND
from wasi_trio.wasi.filesystem._errors import failure
from wasi_trio.wasi.filesystem._opened import Opened, OpenFlags
from wasi_trio.wasi.filesystem._sandbox import NO_CHANGE, NOW, Time

_KINDS = {
    stat.S_IFBLK: "block-device",
    stat.S_IFCHR: "character-device",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFLNK: "symbolic-link",
    stat.S_IFREG: "regular-file",
    stat.S_IFSOCK: "socket",
}


def kind_name(mode: int) -> str | None:
    """Return the ``descriptor-type`` of an ``st_mode``, or None."""
    return _KINDS.get(stat.S_IFMT(mode))


@functools.lru_cache(maxsize=1024)
def flags_to_open(open_flags: frozenset[str], flags: frozenset[str]) -> OpenFlags:
    """Convert ``open-flags`` and ``descriptor-flags``."""
    return OpenFlags(
        read="read" in flags,
        write="write" in flags,
        create="create" in open_flags,
        directory="directory" in open_flags,
        exclusive="exclusive" in open_flags,
        truncate="truncate" in open_flags,
        file_sync="file-integrity-sync" in flags,
        data_sync="data-integrity-sync" in flags,
        read_sync="requested-write-sync" in flags,
        change_directory="mutate-directory" in flags,
    )


def flags_of(opened: Opened) -> frozenset[str]:
    """Return the ``descriptor-flags`` of an open file."""
    flags = opened.flags
    has = (
        ("read", flags.read),
        ("write", flags.write),
        ("file-integrity-sync", flags.file_sync),
        ("data-integrity-sync", flags.data_sync),
        ("requested-write-sync", flags.read_sync),
        ("mutate-directory", flags.change_directory and opened.is_directory),
    )
    return frozenset(name for name, there in has if there)


def time_to_set(timestamp: Variant) -> Time:
    """Convert the variant ``new-timestamp``. Raises OSError for a time that is invalid or beyond the system's range."""
    if timestamp.case == "no-change":
        return NO_CHANGE
    if timestamp.case == "now":
        return NOW
    if timestamp.value.nanoseconds >= SECOND:
        raise failure(errno.EINVAL)
    if timestamp.value.seconds >= 1 << 63:
        raise failure(errno.EOVERFLOW)
    return Time(timestamp.value.seconds, timestamp.value.nanoseconds)
