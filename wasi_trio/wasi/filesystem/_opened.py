"""Open files and directories of one guest instance.

What may take long gives a coroutine to await instead of a value (``T | Later[T]``); everything raises OSError.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import os
import stat
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import trio

from wasi_trio.wasi._descriptors import GUESTS
from wasi_trio.wasi.filesystem import _libc as libc
from wasi_trio.wasi.filesystem._errors import failure
from wasi_trio.wasi.filesystem._handles import Handle, Lease
from wasi_trio.wasi.filesystem._preopens import Preopen
from wasi_trio.wasi.filesystem._sandbox import Elsewhere, Sandbox, Time, sandboxes
from wasi_trio.wasi.filesystem._volumes import Volume, volume_of

T = TypeVar("T")
Later: TypeAlias = Coroutine[Any, Any, T]

#: what opening something gives
_Found: TypeAlias = tuple[Handle, os.stat_result, Volume]

#: the most bytes of one read, and of one write to what has no offsets
PIECE = 256 * 1024
#: the most bytes that are kept for one stream while a guest, or the system, is not ready for them
KEPT = 64 * 1024
#: freeing more of a file than this may take long, even on a disk that is quick
LARGE = 16 << 20
#: descriptors of the host that an instance may have open
MAX_DESCRIPTORS = 1024
#: the largest offset that the system knows
_MAX_OFFSET = (1 << 63) - 1
#: how often, in seconds, somebody is looked for who reads a FIFO that is to be written
_FIFO_POLL = (0.001, 0.1)

_ADVICE = {
    "normal": "POSIX_FADV_NORMAL",
    "sequential": "POSIX_FADV_SEQUENTIAL",
    "random": "POSIX_FADV_RANDOM",
    "will-need": "POSIX_FADV_WILLNEED",
    "dont-need": "POSIX_FADV_DONTNEED",
    "no-reuse": "POSIX_FADV_NOREUSE",
}


@dataclass(frozen=True, slots=True)
class OpenFlags:
    """How something is to be opened, and what becomes of it thereby."""

    read: bool = False
    write: bool = False
    create: bool = False
    directory: bool = False
    exclusive: bool = False
    truncate: bool = False
    file_sync: bool = False
    data_sync: bool = False
    read_sync: bool = False
    change_directory: bool = False

    @property
    def changes(self) -> bool:
        """Whether something may be changed by it or with what comes of it."""
        return self.write or self.create or self.truncate or self.change_directory

    @property
    def emptied_later(self) -> bool:
        """Whether it is truncated once it is open, as that may take long; what is not to be written cannot be."""
        return self.truncate and self.write

    @functools.lru_cache(maxsize=1024)  # noqa: B019, they are few
    def for_system(self) -> int:
        """These as the flags of ``os.open``. What waits for another end (a FIFO) does not wait in it."""
        flags = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        if self.write:
            flags |= os.O_RDWR if self.read else os.O_WRONLY
        for wanted, flag in (
            (self.create, os.O_CREAT),
            (self.directory, os.O_DIRECTORY),
            (self.create and self.exclusive, os.O_EXCL),
            (self.truncate and not self.emptied_later, os.O_TRUNC),
            (self.file_sync, os.O_SYNC),
            (self.data_sync, os.O_DSYNC),
            (self.read_sync, getattr(os, "O_RSYNC", os.O_SYNC)),
        ):
            if wanted:
                flags |= flag
        return flags


class Closable(Protocol):
    """What holds descriptors."""

    def close(self) -> None: ...


class Files:
    """What one guest instance has open. ``close`` closes all of it."""

    __slots__ = ("_lock", "_open", "count", "limit", "preopens")

    def __init__(self, preopens: Sequence[Preopen], limit: int = MAX_DESCRIPTORS) -> None:
        self.preopens = preopens
        self.limit = limit
        #: descriptors of the host that are open for the instance, but for those of the preopens
        self.count = 0
        self._lock = threading.RLock()  # a handle may be collected, and closed, anywhere
        self._open: set[Closable] = set()

    def opened_preopens(self) -> list[tuple[Opened, str]]:
        """The directories to begin with, and what the guest calls them."""
        return [(Opened.preopen(self, preopen), preopen.guest) for preopen in self.preopens]

    def reserve(self) -> None:
        """Count one more descriptor. Raises OSError where the instance, or all together, have all they may."""
        with self._lock:
            if self.count >= self.limit:
                raise failure(errno.EMFILE)
            GUESTS.reserve()
            self.count += 1

    def unreserve(self) -> None:
        """One less; may be called in any thread."""
        with self._lock:
            self.count -= 1
            GUESTS.release()

    def open(self, open_: Callable[[], int]) -> Handle:
        """The handle of what ``open_`` opens, in any thread."""
        self.reserve()
        try:
            return Handle(open_(), self.unreserve)
        except BaseException:
            self.unreserve()
            raise

    def track(self, holder: Closable) -> None:
        """Close this with the instance, unless it is closed before."""
        self._open.add(holder)

    def forget(self, holder: Closable) -> bool:
        """This is closed; whether it was not so before."""
        known = holder in self._open
        self._open.discard(holder)
        return known

    def close(self) -> None:
        """The instance is gone."""
        for holder in list(self._open):
            holder.close()


class Opened:
    """A file or directory that is open.

    ``flags`` are those that it was opened with. ``changeable`` is false beneath a preopen that is read-only.
    """

    __slots__ = (
        "changeable",
        "files",
        "flags",
        "handle",
        "has_offsets",
        "identity",
        "is_directory",
        "mode",
        "volume",
        "writes_wait",
    )

    def __init__(
        self, files: Files, handle: Handle, status: os.stat_result, volume: Volume, flags: OpenFlags, changeable: bool
    ) -> None:
        self.files = files
        self.handle = handle
        self.mode = status.st_mode
        self.is_directory = stat.S_ISDIR(status.st_mode)
        #: whether it is read and written at an offset, as pipes and terminals are not
        self.has_offsets = stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)
        self.identity = (status.st_dev, status.st_ino)
        self.volume = volume
        self.flags = flags
        self.changeable = changeable
        #: whether a write waits for the disk
        self.writes_wait = (flags.file_sync or flags.data_sync) and not volume.in_memory
        files.track(self)

    @classmethod
    def preopen(cls, files: Files, preopen: Preopen) -> Opened:
        flags = OpenFlags(read=True, directory=True, change_directory=not preopen.read_only)
        return cls(files, preopen.handle.retain(), preopen.status, preopen.volume, flags, not preopen.read_only)

    def close(self) -> None:
        """Harmless when repeated. What still reads or writes the file goes on."""
        if self.files.forget(self):
            self.handle.release()

    # ---- doing things -----------------------------------------------------------------------------------------

    def perform(
        self, work: Callable[[Sandbox, int], T], frees: Callable[[Sandbox, int], int] | None = None
    ) -> T | Later[T]:
        """Do ``work`` with a sandbox and the descriptor, on the loop if it will be short.

        ``frees`` says how many bytes on the disk will be free by it.
        """
        volume = self.volume
        if not volume.quick:
            return self.in_thread(work)
        began = perf_counter()
        try:
            near, fd = sandboxes()[0], self.handle.fd
            if frees is not None and frees(near, fd) > LARGE:
                return self.in_thread(work)
            return work(near, fd)
        except Elsewhere:
            return self.in_thread(work)
        finally:
            volume.took(perf_counter() - began)

    async def in_thread(self, work: Callable[[Sandbox, int], T]) -> T:
        """Do it in a thread, which keeps the file open until it has ended."""
        lease = Lease(self.handle)
        volume = self.volume

        def run(lease: Lease) -> T:
            began = perf_counter()
            try:
                return work(sandboxes()[1], lease.fd)
            finally:
                volume.took(perf_counter() - began)

        act = functools.partial(run, lease)
        del lease  # what holds it is to be what the thread has
        return await volume.in_thread(act)

    # ---- what it is -------------------------------------------------------------------------------------------

    def stat(self) -> os.stat_result | Later[os.stat_result]:
        return self.perform(lambda sandbox, fd: os.fstat(fd))

    # ---- contents ---------------------------------------------------------------------------------------------

    def check_readable(self) -> None:
        """Raise OSError where it is a directory, or was opened for writing alone."""
        if self.is_directory:
            raise failure(errno.EISDIR)
        if not self.flags.read:
            raise failure(errno.EBADF)

    def check_writable(self) -> None:
        """Raise OSError where it was not opened for writing, or may not be changed."""
        self.check_changeable()
        if not self.flags.write:
            raise failure(errno.EBADF)

    def check_changeable(self) -> None:
        if not self.changeable:
            raise failure(errno.EPERM)

    def check_directory(self) -> None:
        if not self.is_directory:
            raise failure(errno.ENOTDIR)

    def read_into(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        """Read what can be read without waiting, nothing at the end; None if it has to be waited for."""
        fd = self.handle.fd
        if not self.has_offsets:
            try:
                return os.readv(fd, (buffer,))
            except BlockingIOError:
                return None
        volume = self.volume
        if not volume.quick:
            return None
        began = perf_counter()
        try:
            if volume.tells_what_waits:
                try:
                    return os.preadv(fd, (buffer,), offset, os.RWF_NOWAIT)
                except BlockingIOError:
                    return None
                except OSError as error:
                    if error.errno != errno.EOPNOTSUPP:
                        raise
                    volume.tells_what_waits = False
            return _preadv(fd, buffer, offset)
        finally:
            volume.took(perf_counter() - began)

    def read_now(self, size: int, offset: int) -> bytearray | None:
        """The same into a new buffer, which is empty at the end."""
        buffer = bytearray(size)
        count = self.read_into(buffer, offset)
        if count is None:
            return None
        del buffer[count:]
        return buffer

    def read(self, size: int, offset: int) -> bytes | bytearray | Later[bytes]:
        """At most so many bytes from ``offset`` on, none at the end."""
        self.check_readable()
        check_offset(offset)
        size = min(size, PIECE)
        data = self.read_now(size, offset)
        return self.read_later(size, offset) if data is None else data

    async def read_later(self, size: int, offset: int) -> bytes:
        """The same, once it is there. Cancelling this loses nothing."""
        if self.has_offsets:
            return await self.in_thread(lambda sandbox, fd: os.pread(fd, size, offset))
        while True:
            await self.wait_readable()
            try:
                return os.read(self.handle.fd, size)
            except BlockingIOError:  # somebody else was faster
                continue

    async def wait_readable(self) -> None:
        """Return once a read of what has no offsets may have something, the end included."""
        await _wait(trio.lowlevel.wait_readable, self.handle)

    async def wait_writable(self) -> None:
        await _wait(trio.lowlevel.wait_writable, self.handle)

    def write(self, data: bytes, offset: int | None) -> int | Later[int]:
        """Write at an offset, or at the end for None; gives how many bytes were written, which may be fewer."""
        self.check_writable()
        if offset is not None:
            check_offset(offset)
        if not self.has_offsets:
            return self._write_special(data)
        if offset is not None and self.volume.quick and not self.writes_wait:
            began = perf_counter()
            try:
                return os.pwrite(self.handle.fd, data, offset)
            finally:
                self.volume.took(perf_counter() - began)
        work = functools.partial(_write, data=data, offset=offset)
        return self.in_thread(work) if self.writes_wait else self.perform(work)

    def _write_special(self, data: bytes) -> int | Later[int]:
        count = self.write_now(data)
        return count if count or not data else self._write_later(data)

    async def _write_later(self, data: bytes) -> int:
        while True:
            await self.wait_writable()
            count = self.write_now(data)
            if count:
                return count

    def write_now(self, data: bytes) -> int:
        """Write to what has no offsets as much as it takes, which may be nothing."""
        try:
            return os.write(self.handle.fd, data[:PIECE])
        except BlockingIOError:
            return 0

    def set_size(self, size: int) -> Later[None] | None:
        if self.is_directory:
            raise failure(errno.EBADF)
        self.check_changeable()
        check_offset(size)
        return self.perform(lambda sandbox, fd: os.ftruncate(fd, size), lambda sandbox, fd: os.fstat(fd).st_size - size)

    def set_times(self, access: Time, modification: Time) -> Later[None] | None:
        self.check_changeable()
        return self.perform(lambda sandbox, fd: libc.set_times(fd, access, modification))

    def advise(self, offset: int, length: int, advice: str) -> Later[None] | None:
        """Tell the system; nothing where it does not want to know."""
        if self.is_directory:
            raise failure(errno.EBADF)
        advise = getattr(os, "posix_fadvise", None)
        if advise is None or max(offset, length) > _MAX_OFFSET:
            return None
        number = getattr(os, _ADVICE[advice])
        return self.perform(lambda sandbox, fd: cast(None, advise(fd, offset, length, number)))

    def sync(self, *, data_only: bool) -> Later[None] | None:
        """Have what was written on the disk when this is done."""
        sync = os.fdatasync if data_only and hasattr(os, "fdatasync") else os.fsync

        def work(sandbox: Sandbox, fd: int) -> None:
            sync(fd)

        if not (self.has_offsets or self.is_directory):
            return None
        return self.perform(work) if self.volume.in_memory else self.in_thread(work)

    # ---- what a directory holds -------------------------------------------------------------------------------

    def open_at(self, path: str, flags: OpenFlags, *, follow: bool) -> Opened | Later[Opened]:
        """Open what is at a path beneath this directory.

        A FIFO that is to be written waits for somebody who reads it.
        """
        self.check_directory()
        if flags.directory and (flags.create or flags.exclusive or flags.truncate):
            raise failure(errno.EINVAL)
        if flags.changes:
            self.check_changeable()
        if not (flags.read or flags.write):
            flags = replace(flags, read=True)
        try:
            found = self.perform(functools.partial(self._open, path, flags, follow))
        except OSError as error:
            if error.errno == errno.ENXIO and flags.write:
                return self._open_fifo(path, flags, follow)
            raise
        if isinstance(found, Coroutine):
            return self._open_later(found, path, flags, follow)
        opened = Opened(self.files, *found, flags, self.changeable)
        emptying = opened._empty(found[1]) if flags.emptied_later else None
        return opened if emptying is None else opened._emptied(emptying)

    def open_now(self, path: str, *, follow: bool) -> Opened | None:
        """Open what is at a path for reading, as ``open_at`` does, unless that is better done in a thread."""
        self.check_directory()
        flags = OpenFlags(read=True)
        found = self.perform(functools.partial(self._open, path, flags, follow))
        if isinstance(found, Coroutine):
            found.close()
            return None
        return Opened(self.files, *found, flags, self.changeable)

    async def _open_later(self, found: Later[_Found], path: str, flags: OpenFlags, follow: bool) -> Opened:
        try:
            handle, status, volume = await found
        except OSError as error:
            if error.errno != errno.ENXIO or not flags.write:
                raise
            return await self._open_fifo(path, flags, follow)
        opened = Opened(self.files, handle, status, volume, flags, self.changeable)
        emptying = opened._empty(status) if flags.emptied_later else None
        return opened if emptying is None else await opened._emptied(emptying)

    def _empty(self, status: os.stat_result) -> Later[None] | None:
        """Truncate a file that was opened to be truncated. Raises OSError, and then it is closed."""
        if not stat.S_ISREG(status.st_mode):
            return None
        try:
            return self.perform(lambda sandbox, fd: os.ftruncate(fd, 0), lambda sandbox, fd: status.st_size)
        except BaseException:
            self.close()
            raise

    async def _emptied(self, emptying: Later[None]) -> Opened:
        try:
            await emptying
        except BaseException:
            self.close()
            raise
        return self

    async def _open_fifo(self, path: str, flags: OpenFlags, follow: bool) -> Opened:
        """Open a FIFO for writing, which the system refuses (ENXIO) as long as nobody reads it."""
        pause, longest = _FIFO_POLL
        while True:
            status = await self.in_thread(lambda sandbox, fd: sandbox.stat(fd, path, follow=follow))
            if not stat.S_ISFIFO(status.st_mode):  # a socket, or a device that is not there
                raise failure(errno.ENXIO)
            await trio.sleep(pause)
            pause = min(2 * pause, longest)
            try:
                found = await self.in_thread(functools.partial(self._open, path, flags, follow))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            else:
                return Opened(self.files, *found, flags, self.changeable)

    def _open(self, path: str, flags: OpenFlags, follow: bool, sandbox: Sandbox, fd: int) -> _Found:
        # Only what the task gets to see is put among the instance's files: it may be gone when a thread has done this.
        handle = self.files.open(lambda: sandbox.open(fd, path, flags.for_system(), follow=follow))
        try:
            status = os.fstat(handle.fd)
            # What was opened on the same mount is on the same volume: no need to ask.
            same = status.st_dev == self.identity[0]
            return handle, status, self.volume if same else volume_of(handle.fd, status.st_dev)
        except BaseException:
            handle.release()
            raise

    def at(self, work: Callable[[Sandbox, int], T], *, changes: bool = True) -> T | Later[T]:
        """Do ``work`` to what is in this directory."""
        self.check_directory()
        if changes:
            self.check_changeable()
        return self.perform(work)

    def unlink_at(self, path: str) -> Later[None] | None:
        """Remove anything but a directory."""
        self.check_directory()
        self.check_changeable()
        return self.perform(
            lambda sandbox, fd: sandbox.unlink(fd, path),
            lambda sandbox, fd: sandbox.stat(fd, path, follow=False).st_size,
        )

    def at_both(self, other: Opened, work: Callable[[Sandbox, int, int], T]) -> T | Later[T]:
        """Change something in this directory and another one."""
        other.check_directory()
        other.check_changeable()
        lease = Lease(other.handle)

        def both(sandbox: Sandbox, fd: int) -> T:
            return work(sandbox, fd, lease.fd)

        self.check_directory()
        self.check_changeable()
        return self.perform(both) if other.volume.local else self.in_thread(both)


def identity_hash(device: int, inode: int) -> tuple[int, int]:
    """Two numbers of 64 bits for what a file is, the same as long as it is that file.

    Nothing that changes when a file is written is in it: C libraries make the file's inode number of it.
    """
    digest = hashlib.blake2b(b"%d %d" % (device, inode), digest_size=16, person=b"wasi_trio file").digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def check_offset(offset: int) -> None:
    """Raise OSError for an offset that no file has."""
    if offset > _MAX_OFFSET:
        raise failure(errno.EINVAL)


def _write(sandbox: Sandbox, fd: int, *, data: bytes, offset: int | None) -> int:
    if offset is not None:
        return os.pwrite(fd, data, offset)
    if sys.platform.startswith("linux"):
        return os.pwritev(fd, (data,), 0, os.RWF_APPEND)
    else:
        # The descriptor is written at its end meanwhile. It is one guest's, which does one thing at a time.
        before = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, before | os.O_APPEND)
        try:
            return os.write(fd, data)
        finally:
            fcntl.fcntl(fd, fcntl.F_SETFL, before)


def _preadv(fd: int, buffer: bytearray | memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, (buffer,), offset)
    data = os.pread(fd, len(buffer), offset)
    buffer[: len(data)] = data
    return len(data)


async def _wait(wait: Callable[[int], Any], handle: Handle) -> None:
    handle.retain()
    try:
        await wait(handle.fd)
    except trio.BusyResourceError:
        # Another task waits for the same; it is to have its turn first.
        await trio.sleep(_FIFO_POLL[1])
    except PermissionError:  # always ready, says epoll of what cannot be waited for
        await trio.lowlevel.checkpoint()
    finally:
        handle.release()
