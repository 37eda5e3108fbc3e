"""Paths that do not leave a directory.

Each operation takes ``root``, the descriptor of a directory, and a path that a guest gave. Whatever the path is, with
symbolic links, ``..``, absolute targets, or a directory that somebody swaps for a link meanwhile, nothing outside of
``root`` is touched: a path that leads there raises ``Outside``.

A path is opened in one of two ways. ``Kernel`` has Linux do it (``openat2``, whose flags stand in ``libc.py``).
``Walk`` opens one component after the other without following links, and follows those that it finds by itself; it
is for other systems, and for the rare path of which the kernel cannot tell because of a rename beside it. All else is
made of that: the directory that holds the last component is opened, and the operation is done to the name in it,
without following a link.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from wasi_trio.wasi.filesystem import _libc as libc
from wasi_trio.wasi.filesystem._errors import failure

#: links that one path may lead through, as in Linux
MAX_LINKS = 40
#: directories that one walk keeps open at once
MAX_DEPTH = 256
#: bytes of a path, its end included, as in Linux
MAX_PATH = 4096

_PATH_ONLY = getattr(os, "O_PATH", 0)
#: how directories are opened on the way: only to look names up in
_DIRECTORY = os.O_DIRECTORY | (_PATH_ONLY or os.O_RDONLY)
#: what opening a link says if it is not to be followed; ENOTDIR where it should have been a directory
_MAY_BE_LINK = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK, getattr(errno, "EFTYPE", errno.ELOOP)})


class Outside(PermissionError):
    """The path leads out of the directory."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "the path leads out of its directory")


class Elsewhere(OSError):
    """The path leads to another mount, or out of the directory; raised where only one mount may be touched."""


class Time(NamedTuple):
    """A timestamp to set: seconds since 1970, nanoseconds or one of ``libc.UTIME_NOW`` and ``UTIME_OMIT``."""

    seconds: int
    nanoseconds: int


NO_CHANGE = Time(0, libc.UTIME_OMIT)
NOW = Time(0, libc.UTIME_NOW)


def encoded(path: str) -> bytes:
    """A guest's path as the system's. Raises OSError for one that can be none, and Outside for an absolute one."""
    if not path:
        raise failure(errno.ENOENT)
    if len(path) >= MAX_PATH:  # before its bytes are counted: a guest may pass megabytes
        raise failure(errno.ENAMETOOLONG)
    data = path.encode()
    if b"\0" in data:
        raise failure(errno.EINVAL)
    if data.startswith(b"/"):
        raise Outside
    if len(data) >= MAX_PATH:
        raise failure(errno.ENAMETOOLONG)
    return data


class Resolver(ABC):
    """A way to open paths."""

    @abstractmethod
    def open(self, root: int, path: bytes, flags: int, mode: int, follow: bool) -> int:
        """A new descriptor, which a process that is executed does not inherit. Raises OSError, Outside."""

    @abstractmethod
    def stat(self, root: int, path: bytes, follow: bool) -> os.stat_result:
        """What there is to know of a file, or of a link that is not to be followed."""


class Kernel(Resolver):
    """``openat2`` of Linux. With ``one_mount`` a path to another mount raises Elsewhere, and is not looked at."""

    def __init__(self, one_mount: bool = False) -> None:
        self._one_mount = one_mount
        self._walk = Walk()

    def open(self, root: int, path: bytes, flags: int, mode: int, follow: bool) -> int:
        if not follow:
            flags |= os.O_NOFOLLOW
        try:
            return libc.openat2(root, path, flags, mode, one_mount=self._one_mount)
        except OSError as error:
            if error.errno == errno.EXDEV:
                if self._one_mount:
                    raise Elsewhere(errno.EXDEV, "another mount") from None
                raise Outside from None
            if error.errno != errno.EAGAIN:
                raise
        if self._one_mount:
            raise Elsewhere(errno.EAGAIN, "a rename beside it")
        return self._walk.open(root, path, flags, mode, follow)

    def stat(self, root: int, path: bytes, follow: bool) -> os.stat_result:
        fd = self.open(root, path, _PATH_ONLY, 0, follow)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)


class Walk(Resolver):
    """One component after the other, each opened without following links.

    ``..`` goes back to the directory that the walk came from, wherever that has been moved since.
    """

    def open(self, root: int, path: bytes, flags: int, mode: int, follow: bool) -> int:
        pending = _components(path)
        came_by: list[int] = []
        links = 0
        try:
            while True:
                name = pending.pop()
                at = came_by[-1] if came_by else root
                last = not pending
                if name == b"..":
                    if not came_by:
                        raise Outside
                    os.close(came_by.pop())
                    name = b"."
                    at = came_by[-1] if came_by else root
                if name == b".":
                    if last:
                        if flags & os.O_CREAT:
                            raise failure(errno.EISDIR)
                        return os.open(b".", flags | os.O_DIRECTORY | os.O_NOFOLLOW, mode, dir_fd=at)
                    continue
                try:
                    if last:
                        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=at)
                    if len(came_by) == MAX_DEPTH:
                        raise failure(errno.ENAMETOOLONG)
                    came_by.append(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at))
                    continue
                except OSError as error:
                    if error.errno not in _MAY_BE_LINK or (last and not follow):
                        raise
                    target = _link_target(at, name)
                    if target is None:
                        kind = stat.S_IFMT(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
                        if error.errno == errno.ENOTDIR and kind not in (stat.S_IFDIR, stat.S_IFLNK):
                            raise
                        target = name  # it was a link a moment ago: look again
                links += 1
                if links > MAX_LINKS:
                    raise failure(errno.ELOOP)
                if target.startswith(b"/"):
                    raise Outside
                pending += _components(target)
        finally:
            for fd in came_by:
                os.close(fd)

    def stat(self, root: int, path: bytes, follow: bool) -> os.stat_result:
        with _place(self, root, path, follow) as (at, name):
            return os.stat(name, dir_fd=at, follow_symlinks=False)


def _components(path: bytes) -> list[bytes]:
    """The components of a path, the first one last. A slash at its end is a ``.``, which only a directory has."""
    names = [name for name in path.split(b"/") if name]
    if path.endswith(b"/"):
        names.append(b".")
    names.reverse()
    return names or [b"."]


def _link_target(at: int, name: bytes) -> bytes | None:
    """What a symbolic link holds; None for what is none."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


@contextmanager
def _place(resolver: Resolver, root: int, path: bytes, follow: bool = False) -> Iterator[tuple[int, bytes]]:
    """The directory that holds what a path names, and its name there, which is ``.`` where the path ends in no name.

    With ``follow`` links that the path leads to are followed, so that the name is of none, unless somebody puts one
    there: the operation must not follow it.
    """
    links = 0
    while True:
        parent, slash, name = path.rpartition(b"/")
        parent += slash
        if name in (b"", b".", b".."):
            parent, name = path, b"."
        at = resolver.open(root, parent, _DIRECTORY, 0, True) if parent else root
        try:
            target = _link_target(at, name) if follow and name != b"." else None
            if target is None:
                yield at, name
                return
        finally:
            if at != root:
                os.close(at)
        links += 1
        if links > MAX_LINKS:
            raise failure(errno.ELOOP)
        if target.startswith(b"/"):
            raise Outside
        path = parent + target


class Sandbox:
    """What can be done to a path. Each may be called in any thread."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def open(self, root: int, path: str, flags: int, *, follow: bool, mode: int = 0o666) -> int:
        """A descriptor of what is at the path. ``flags`` are those of ``os.open``."""
        return self._resolver.open(root, encoded(path), flags, mode, follow)

    def stat(self, root: int, path: str, *, follow: bool) -> os.stat_result:
        return self._resolver.stat(root, encoded(path), follow)

    def set_times(self, root: int, path: str, access: Time, modification: Time, *, follow: bool) -> None:
        with _place(self._resolver, root, encoded(path), follow) as (at, name):
            libc.set_times(at, access, modification, name)

    def make_directory(self, root: int, path: str) -> None:
        with _place(self._resolver, root, _without_slash(encoded(path))) as (at, name):
            if name == b".":
                raise failure(errno.EEXIST)
            os.mkdir(name, 0o777, dir_fd=at)

    def remove_directory(self, root: int, path: str) -> None:
        """Remove an empty directory; a path that ends in ``/`` or ``.`` is refused."""
        with _place(self._resolver, root, encoded(path)) as (at, name):
            if name == b".":
                raise failure(errno.EINVAL)
            os.rmdir(name, dir_fd=at)

    def unlink(self, root: int, path: str) -> None:
        """Remove anything but a directory."""
        with _place(self._resolver, root, encoded(path)) as (at, name):
            if name == b".":
                raise failure(errno.EISDIR)
            try:
                os.unlink(name, dir_fd=at)
            except PermissionError:
                # What POSIX has for a directory is what it has for much else, too.
                if stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                    raise failure(errno.EISDIR) from None
                raise

    def rename(self, root: int, path: str, new_root: int, new_path: str) -> None:
        old, new = encoded(path), encoded(new_path)
        with (
            _place(self._resolver, root, _without_slash(old)) as (at, name),
            _place(self._resolver, new_root, _without_slash(new)) as (new_at, new_name),
        ):
            if b"." in (name, new_name):
                raise failure(errno.EBUSY)
            if old.endswith(b"/") or new.endswith(b"/"):
                mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    raise failure(errno.ENOTDIR)
            os.rename(name, new_name, src_dir_fd=at, dst_dir_fd=new_at)

    def link(self, root: int, path: str, new_root: int, new_path: str) -> None:
        """Give a file, or a symbolic link itself, a further name."""
        with (
            _place(self._resolver, root, encoded(path)) as (at, name),
            _place(self._resolver, new_root, encoded(new_path)) as (new_at, new_name),
        ):
            if new_name == b".":
                raise failure(errno.EEXIST)
            if name == b".":
                raise failure(errno.EPERM)
            os.link(name, new_name, src_dir_fd=at, dst_dir_fd=new_at, follow_symlinks=False)

    def symlink(self, target: str, root: int, path: str) -> None:
        """Make a link that holds ``target``, which must not be absolute; it may well lead to nowhere, or outside."""
        with _place(self._resolver, root, encoded(path)) as (at, name):
            if name == b".":
                raise failure(errno.EEXIST)
            os.symlink(encoded(target), name, dir_fd=at)

    def read_link(self, root: int, path: str) -> str:
        """What a link holds. Raises Outside for an absolute path, EILSEQ for one that is not text."""
        with _place(self._resolver, root, encoded(path)) as (at, name):
            target = _link_target(at, name) if name != b"." else None
        if target is None:
            raise failure(errno.EINVAL)
        if target.startswith(b"/"):
            raise Outside
        try:
            return target.decode()
        except UnicodeDecodeError:
            raise failure(errno.EILSEQ) from None


def _without_slash(path: bytes) -> bytes:
    return path.rstrip(b"/")


@functools.cache
def sandboxes() -> tuple[Sandbox, Sandbox]:
    """What this system has: for one mount, and for any. Where they differ the first never looks at another mount."""
    if libc.has_openat2():
        return Sandbox(Kernel(one_mount=True)), Sandbox(Kernel())
    walk = Sandbox(Walk())
    return walk, walk
