"""Confinement of paths to a directory.

Each operation takes ``root``, the descriptor of a directory, and a path from a guest. The path may contain symbolic
links, ``..`` or absolute targets, and another process may replace a directory by a link at any time. Still, no
operation touches anything outside of ``root``: a path that leads there raises ``Outside``.

Two resolvers open paths. ``Kernel`` uses ``openat2`` of Linux, with the flags in ``_libc.py``. ``Walk`` opens each
component without following links, and resolves links itself. It serves other systems, and the rare paths that the
kernel cannot check because of a concurrent rename. All operations build on them: they open the directory of the last
component, and act on that name without following a link.
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

#: maximum number of links in the resolution of one path, as in Linux
MAX_LINKS = 40
#: maximum number of directories that a walk keeps open
MAX_DEPTH = 256
#: maximum bytes of a path, including its terminator, as in Linux
MAX_PATH = 4096

_PATH_ONLY = getattr(os, "O_PATH", 0)
#: flags for directories on the way, which serve only for lookups
_DIRECTORY = os.O_DIRECTORY | (_PATH_ONLY or os.O_RDONLY)
#: errors of opening a link with O_NOFOLLOW; ENOTDIR occurs if a directory was requested
_MAY_BE_LINK = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK, getattr(errno, "EFTYPE", errno.ELOOP)})


class Outside(PermissionError):
    """The path leads out of the directory."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "the path leads out of its directory")


class Elsewhere(OSError):
    """The path leads to another mount or out of the directory. Raised by a resolver for one mount."""


class Time(NamedTuple):
    """A timestamp: seconds since 1970, and nanoseconds or ``_libc.UTIME_NOW`` or ``_libc.UTIME_OMIT``."""

    seconds: int
    nanoseconds: int


NO_CHANGE = Time(0, libc.UTIME_OMIT)
NOW = Time(0, libc.UTIME_NOW)


def encode_path(path: str) -> bytes:
    """Encode a guest's path for the system. Raises OSError for invalid paths, and Outside for absolute ones."""
    if not path:
        raise failure(errno.ENOENT)
    if len(path) >= MAX_PATH:  # before encoding, because a guest may pass megabytes
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
    """A method to open paths."""

    @abstractmethod
    def open(self, root: int, path: bytes, flags: int, mode: int, follow: bool) -> int:
        """Return a new descriptor with the close-on-exec flag. Raises OSError and Outside."""

    @abstractmethod
    def stat(self, root: int, path: bytes, follow: bool) -> os.stat_result:
        """Return the status of a file, or of a link that is not followed."""


class Kernel(Resolver):
    """``openat2`` of Linux. With ``one_mount``, a path to another mount raises Elsewhere."""

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
    """A walk over the components of a path, each opened without following links.

    ``..`` returns to the directory that the walk came from, even if that directory has moved.
    """

    def open(self, root: int, path: bytes, flags: int, mode: int, follow: bool) -> int:
        pending = _components(path)
        ancestors: list[int] = []
        links = 0
        try:
            while True:
                name = pending.pop()
                at = ancestors[-1] if ancestors else root
                last = not pending
                if name == b"..":
                    if not ancestors:
                        raise Outside
                    os.close(ancestors.pop())
                    name = b"."
                    at = ancestors[-1] if ancestors else root
                if name == b".":
                    if last:
                        if flags & os.O_CREAT:
                            raise failure(errno.EISDIR)
                        return os.open(b".", flags | os.O_DIRECTORY | os.O_NOFOLLOW, mode, dir_fd=at)
                    continue
                try:
                    if last:
                        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=at)
                    if len(ancestors) == MAX_DEPTH:
                        raise failure(errno.ENAMETOOLONG)
                    ancestors.append(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at))
                    continue
                except OSError as error:
                    if error.errno not in _MAY_BE_LINK or (last and not follow):
                        raise
                    target = _link_target(at, name)
                    if target is None:
                        kind = stat.S_IFMT(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
                        if error.errno == errno.ENOTDIR and kind not in (stat.S_IFDIR, stat.S_IFLNK):
                            raise
                        target = name  # a link until just now: look again
                links += 1
                if links > MAX_LINKS:
                    raise failure(errno.ELOOP)
                if target.startswith(b"/"):
                    raise Outside
                pending += _components(target)
        finally:
            for fd in ancestors:
                os.close(fd)

    def stat(self, root: int, path: bytes, follow: bool) -> os.stat_result:
        with _resolve_parent(self, root, path, follow) as (at, name):
            return os.stat(name, dir_fd=at, follow_symlinks=False)


def _components(path: bytes) -> list[bytes]:
    """Return the components of a path in reverse order. A final slash becomes ``.``, which requires a directory."""
    names = [name for name in path.split(b"/") if name]
    if path.endswith(b"/"):
        names.append(b".")
    names.reverse()
    return names or [b"."]


def _link_target(at: int, name: bytes) -> bytes | None:
    """Return the target of a symbolic link, or None for other files."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None
        raise


@contextmanager
def _resolve_parent(resolver: Resolver, root: int, path: bytes, follow: bool = False) -> Iterator[tuple[int, bytes]]:
    """Open the parent directory of a path, and yield it with the last name, or ``.`` if the path ends in no name.

    With ``follow``, links at the path are followed, so the name is not a link. Another process may replace it by a
    link, so the operation must not follow links.
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
    """Operations on paths. Each can be called in any thread."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def open(self, root: int, path: str, flags: int, *, follow: bool, mode: int = 0o666) -> int:
        """Open a path and return its descriptor. ``flags`` are those of ``os.open``."""
        return self._resolver.open(root, encode_path(path), flags, mode, follow)

    def stat(self, root: int, path: str, *, follow: bool) -> os.stat_result:
        return self._resolver.stat(root, encode_path(path), follow)

    def set_times(self, root: int, path: str, access: Time, modification: Time, *, follow: bool) -> None:
        with _resolve_parent(self._resolver, root, encode_path(path), follow) as (at, name):
            libc.set_times(at, access, modification, name)

    def make_directory(self, root: int, path: str) -> None:
        with _resolve_parent(self._resolver, root, _without_slash(encode_path(path))) as (at, name):
            if name == b".":
                raise failure(errno.EEXIST)
            os.mkdir(name, 0o777, dir_fd=at)

    def remove_directory(self, root: int, path: str) -> None:
        """Remove an empty directory. A path that ends in ``/`` or ``.`` is refused."""
        with _resolve_parent(self._resolver, root, encode_path(path)) as (at, name):
            if name == b".":
                raise failure(errno.EINVAL)
            os.rmdir(name, dir_fd=at)

    def unlink(self, root: int, path: str) -> None:
        """Remove a file that is not a directory."""
        with _resolve_parent(self._resolver, root, encode_path(path)) as (at, name):
            if name == b".":
                raise failure(errno.EISDIR)
            try:
                os.unlink(name, dir_fd=at)
            except PermissionError:
                # POSIX uses the same errno for directories and for missing permissions.
                if stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                    raise failure(errno.EISDIR) from None
                raise

    def rename(self, root: int, path: str, new_root: int, new_path: str) -> None:
        old, new = encode_path(path), encode_path(new_path)
        with (
            _resolve_parent(self._resolver, root, _without_slash(old)) as (at, name),
            _resolve_parent(self._resolver, new_root, _without_slash(new)) as (new_at, new_name),
        ):
            if b"." in (name, new_name):
                raise failure(errno.EBUSY)
            if old.endswith(b"/") or new.endswith(b"/"):
                mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    raise failure(errno.ENOTDIR)
            os.rename(name, new_name, src_dir_fd=at, dst_dir_fd=new_at)

    def link(self, root: int, path: str, new_root: int, new_path: str) -> None:
        """Create a hard link to a file, or to a symbolic link itself."""
        with (
            _resolve_parent(self._resolver, root, encode_path(path)) as (at, name),
            _resolve_parent(self._resolver, new_root, encode_path(new_path)) as (new_at, new_name),
        ):
            if new_name == b".":
                raise failure(errno.EEXIST)
            if name == b".":
                raise failure(errno.EPERM)
            os.link(name, new_name, src_dir_fd=at, dst_dir_fd=new_at, follow_symlinks=False)

    def symlink(self, target: str, root: int, path: str) -> None:
        """Create a symbolic link. ``target`` must not be absolute, but may be missing or outside of the directory."""
        with _resolve_parent(self._resolver, root, encode_path(path)) as (at, name):
            if name == b".":
                raise failure(errno.EEXIST)
            os.symlink(encode_path(target), name, dir_fd=at)

    def read_link(self, root: int, path: str) -> str:
        """Return the target of a link. Raises Outside for an absolute path, EILSEQ if it is not UTF-8."""
        with _resolve_parent(self._resolver, root, encode_path(path)) as (at, name):
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
    """Return the sandboxes for one mount and for all mounts. The first never accesses another mount, if it differs."""
    if libc.has_openat2():
        return Sandbox(Kernel(one_mount=True)), Sandbox(Kernel())
    walk = Sandbox(Walk())
    return walk, walk
