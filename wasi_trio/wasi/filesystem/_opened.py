"""Open files and directories of one guest instance.

An operation that may take long returns a coroutine instead of a value (``T | Later[T]``). All operations raise OSError.
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
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

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

#: the result of opening a path
_OpenResult: TypeAlias = tuple[Handle, os.stat_result, Volume]

#: maximum bytes of one read, and of one write to a file without offsets
PIECE = 256 * 1024
#: maximum bytes that a stream buffers while the guest or the system is not ready
BUFFER_SIZE = 64 * 1024
#: truncation by more bytes may take long, even on a fast disk
LARGE = 16 << 20
#: default limit of host descriptors of an instance
MAX_DESCRIPTORS = 1024
#: the largest file offset of the system
_MAX_OFFSET = (1 << 63) - 1
#: the shortest and the longest interval, in seconds, of attempts to open a FIFO that has no reader
_FIFO_POLL = (0.001, 0.1)

_ADVICE = {
    "normal": "POSIX_FADV_NORMAL",
    "sequential": "POSIX_FADV_SEQUENTIAL",
    "random": "POSIX_FADV_RANDOM",
    "will-need": "POSIX_FADV_WILLNEED",
    "dont-need": "POSIX_FADV_DONTNEED",
    "no-reuse": "POSIX_FADV_NOREUSE",
}


class OpenFlags(NamedTuple):
    """Flags that determine how a file is opened."""

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
        """Whether the operation, or the resulting descriptor, may change anything."""
        return self.write or self.create or self.truncate or self.change_directory

    @property
    def truncate_later(self) -> bool:
        """Whether to truncate after opening, because truncation may take long. That requires a writable descriptor."""
        return self.truncate and self.write

    @functools.lru_cache(maxsize=1024)  # noqa: B019, few combinations exist
    def for_system(self) -> int:
        """Return the flags for ``os.open``. Opening does not wait for the other end of a FIFO."""
        flags = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        if self.write:
            flags |= os.O_RDWR if self.read else os.O_WRONLY
        for wanted, flag in (
            (self.create, os.O_CREAT),
            (self.directory, os.O_DIRECTORY),
            (self.create and self.exclusive, os.O_EXCL),
            (self.truncate and not self.truncate_later, os.O_TRUNC),
            (self.file_sync, os.O_SYNC),
            (self.data_sync, os.O_DSYNC),
            (self.read_sync, getattr(os, "O_RSYNC", os.O_SYNC)),
        ):
            if wanted:
                flags |= flag
        return flags


class Closable(Protocol):
    """An owner of descriptors."""

    def close(self) -> None: ...


class Files:
    """The open files of one guest instance."""

    __slots__ = ("_lock", "_open", "count", "limit", "preopens")

    def __init__(self, preopens: Sequence[Preopen], limit: int = MAX_DESCRIPTORS) -> None:
        self.preopens = preopens
        self.limit = limit
        #: host descriptors of the instance, without those of preopens
        self.count = 0
        self._lock = threading.RLock()  # garbage collection may close a handle in any thread, even within this class
        self._open: set[Closable] = set()

    def opened_preopens(self) -> list[tuple[Opened, str]]:
        """Return the preopened directories and their names for the guest."""
        return [(Opened.preopen(self, preopen), preopen.guest) for preopen in self.preopens]

    def reserve(self) -> None:
        """Reserve a descriptor. Raises OSError at the limit of the instance or of all guests."""
        with self._lock:
            if self.count >= self.limit:
                raise failure(errno.EMFILE)
            GUESTS.reserve()
            self.count += 1

    def unreserve(self) -> None:
        """Release a descriptor. Callable from any thread."""
        with self._lock:
            self.count -= 1
            GUESTS.release()

    def open(self, open_: Callable[[], int]) -> Handle:
        """Call ``open_`` and return a handle of its descriptor. Callable from any thread."""
        self.reserve()
        try:
            return Handle(open_(), self.unreserve)
        except BaseException:
            self.unreserve()
            raise

    def track(self, holder: Closable) -> None:
        """Close ``holder`` with the instance, unless it is closed earlier."""
        self._open.add(holder)

    def forget(self, holder: Closable) -> bool:
        """Stop tracking a closed holder. Return whether it was tracked."""
        known = holder in self._open
        self._open.discard(holder)
        return known

    def close(self) -> None:
        """Close all files, at the end of the instance."""
        for holder in list(self._open):
            holder.close()


class Opened:
    """An open file or directory.

    ``flags`` are the flags of its opening. ``changeable`` is false beneath a read-only preopen.
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
        #: whether reads and writes take an offset; those of pipes and terminals do not
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
        """Close the file, unless it is closed already. Running reads and writes continue."""
        if self.files.forget(self):
            self.handle.release()

    # ---- work -------------------------------------------------------------------------------------------------

    def perform(
        self, work: Callable[[Sandbox, int], T], frees: Callable[[Sandbox, int], int] | None = None
    ) -> T | Later[T]:
        """Call ``work`` with a sandbox and the descriptor, on the event loop if it is expected to be short.

        ``frees`` estimates the number of bytes that the work frees on the disk.
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
            volume.record_duration(perf_counter() - began)

    async def in_thread(self, work: Callable[[Sandbox, int], T]) -> T:
        """Call ``work`` in a thread. The file stays open until the thread has finished."""
        lease = Lease(self.handle)
        volume = self.volume

        def run(lease: Lease) -> T:
            began = perf_counter()
            try:
                return work(sandboxes()[1], lease.fd)
            finally:
                volume.record_duration(perf_counter() - began)

        act = functools.partial(run, lease)
        del lease  # only the thread's work may hold the lease
        return await volume.in_thread(act)

    # ---- status -----------------------------------------------------------------------------------------------

    def stat(self) -> os.stat_result | Later[os.stat_result]:
        return self.perform(lambda sandbox, fd: os.fstat(fd))

    # ---- contents ---------------------------------------------------------------------------------------------

    def check_readable(self) -> None:
        """Raise OSError for a directory, or for a file that is open only for writing."""
        if self.is_directory:
            raise failure(errno.EISDIR)
        if not self.flags.read:
            raise failure(errno.EBADF)

    def check_writable(self) -> None:
        """Raise OSError for a file that is not open for writing, or is read-only."""
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
        """Read without waiting. Return the number of bytes, 0 at the end, or None if the read would wait."""
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
            if volume.supports_nowait:
                try:
                    return os.preadv(fd, (buffer,), offset, os.RWF_NOWAIT)
                except BlockingIOError:
                    return None
                except OSError as error:
                    if error.errno != errno.EOPNOTSUPP:
                        raise
                    volume.supports_nowait = False
            return _preadv(fd, buffer, offset)
        finally:
            volume.record_duration(perf_counter() - began)

    def read_now(self, size: int, offset: int) -> bytearray | None:
        """Read like ``read_into``, and return a new buffer, which is empty at the end."""
        buffer = bytearray(size)
        count = self.read_into(buffer, offset)
        if count is None:
            return None
        del buffer[count:]
        return buffer

    def read(self, size: int, offset: int) -> bytes | bytearray | Later[bytes]:
        """Read at most ``size`` bytes at ``offset``. The result is empty at the end."""
        self.check_readable()
        check_offset(offset)
        size = min(size, PIECE)
        data = self.read_now(size, offset)
        return self.read_later(size, offset) if data is None else data

    async def read_later(self, size: int, offset: int) -> bytes:
        """Wait for data and read it. Cancellation loses no data."""
        if self.has_offsets:
            return await self.in_thread(lambda sandbox, fd: os.pread(fd, size, offset))
        while True:
            await self.wait_readable()
            try:
                return os.read(self.handle.fd, size)
            except BlockingIOError:  # another reader was faster
                continue

    async def wait_readable(self) -> None:
        """Wait until a read of a file without offsets may return data or the end."""
        await _wait(trio.lowlevel.wait_readable, self.handle)

    async def wait_writable(self) -> None:
        await _wait(trio.lowlevel.wait_writable, self.handle)

    def write(self, data: bytes, offset: int | None) -> int | Later[int]:
        """Write at an offset, or at the end if it is None. Return the number of bytes written, which may be smaller."""
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
                self.volume.record_duration(perf_counter() - began)
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
        """Write as much as a file without offsets accepts, possibly nothing."""
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
        """Advise the system. Do nothing if the system has no such advice."""
        if self.is_directory:
            raise failure(errno.EBADF)
        advise = getattr(os, "posix_fadvise", None)
        if advise is None or max(offset, length) > _MAX_OFFSET:
            return None
        number = getattr(os, _ADVICE[advice])
        return self.perform(lambda sandbox, fd: cast(None, advise(fd, offset, length, number)))

    def sync(self, *, data_only: bool) -> Later[None] | None:
        """Write all data to the disk before this completes."""
        sync = os.fdatasync if data_only and hasattr(os, "fdatasync") else os.fsync

        def work(sandbox: Sandbox, fd: int) -> None:
            sync(fd)

        if not (self.has_offsets or self.is_directory):
            return None
        return self.perform(work) if self.volume.in_memory else self.in_thread(work)

    # ---- directories ------------------------------------------------------------------------------------------

    def open_at(self, path: str, flags: OpenFlags, *, follow: bool) -> Opened | Later[Opened]:
        """Open a path beneath this directory.

        Opening a FIFO for writing waits for a reader.
        """
        self.check_directory()
        if flags.directory and (flags.create or flags.exclusive or flags.truncate):
            raise failure(errno.EINVAL)
        if flags.changes:
            self.check_changeable()
        if not (flags.read or flags.write):
            flags = flags._replace(read=True)
        try:
            found = self.perform(functools.partial(self._open, path, flags, follow))
        except OSError as error:
            if error.errno == errno.ENXIO and flags.write:
                return self._open_fifo(path, flags, follow)
            raise
        if isinstance(found, Coroutine):
            return self._open_later(found, path, flags, follow)
        opened = Opened(self.files, *found, flags, self.changeable)
        emptying = opened._truncate(found[1]) if flags.truncate_later else None
        return opened if emptying is None else opened._finish_truncation(emptying)

    def open_now(self, path: str, *, follow: bool) -> Opened | None:
        """Open a path for reading as ``open_at`` does. Return None if the work needs a thread."""
        self.check_directory()
        flags = OpenFlags(read=True)
        found = self.perform(functools.partial(self._open, path, flags, follow))
        if isinstance(found, Coroutine):
            found.close()
            return None
        return Opened(self.files, *found, flags, self.changeable)

    async def _open_later(self, found: Later[_OpenResult], path: str, flags: OpenFlags, follow: bool) -> Opened:
        try:
            handle, status, volume = await found
        except OSError as error:
            if error.errno != errno.ENXIO or not flags.write:
                raise
            return await self._open_fifo(path, flags, follow)
        opened = Opened(self.files, handle, status, volume, flags, self.changeable)
        emptying = opened._truncate(status) if flags.truncate_later else None
        return opened if emptying is None else await opened._finish_truncation(emptying)

    def _truncate(self, status: os.stat_result) -> Later[None] | None:
        """Truncate a file after it was opened. If that raises OSError, the file is closed."""
        if not stat.S_ISREG(status.st_mode):
            return None
        try:
            return self.perform(lambda sandbox, fd: os.ftruncate(fd, 0), lambda sandbox, fd: status.st_size)
        except BaseException:
            self.close()
            raise

    async def _finish_truncation(self, emptying: Later[None]) -> Opened:
        try:
            await emptying
        except BaseException:
            self.close()
            raise
        return self

    async def _open_fifo(self, path: str, flags: OpenFlags, follow: bool) -> Opened:
        """Open a FIFO for writing. The system refuses that (ENXIO) while the FIFO has no reader."""
        pause, longest = _FIFO_POLL
        while True:
            status = await self.in_thread(lambda sandbox, fd: sandbox.stat(fd, path, follow=follow))
            if not stat.S_ISFIFO(status.st_mode):  # a socket, or an absent device
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

    def _open(self, path: str, flags: OpenFlags, follow: bool, sandbox: Sandbox, fd: int) -> _OpenResult:
        # Only the task registers the file with the instance, because the instance may end before the thread.
        handle = self.files.open(lambda: sandbox.open(fd, path, flags.for_system(), follow=follow))
        try:
            status = os.fstat(handle.fd)
            # A file on the same mount is on the same volume.
            same = status.st_dev == self.identity[0]
            return handle, status, self.volume if same else volume_of(handle.fd, status.st_dev)
        except BaseException:
            handle.release()
            raise

    def at(self, work: Callable[[Sandbox, int], T], *, changes: bool = True) -> T | Later[T]:
        """Call ``work`` on this directory."""
        self.check_directory()
        if changes:
            self.check_changeable()
        return self.perform(work)

    def unlink_at(self, path: str) -> Later[None] | None:
        """Remove a file that is not a directory."""
        self.check_directory()
        self.check_changeable()
        return self.perform(
            lambda sandbox, fd: sandbox.unlink(fd, path),
            lambda sandbox, fd: sandbox.stat(fd, path, follow=False).st_size,
        )

    def at_both(self, other: Opened, work: Callable[[Sandbox, int, int], T]) -> T | Later[T]:
        """Call ``work`` on this directory and another one, and change both."""
        other.check_directory()
        other.check_changeable()
        lease = Lease(other.handle)

        def both(sandbox: Sandbox, fd: int) -> T:
            return work(sandbox, fd, lease.fd)

        self.check_directory()
        self.check_changeable()
        return self.perform(both) if other.volume.local else self.in_thread(both)


def identity_hash(device: int, inode: int) -> tuple[int, int]:
    """Return two 64-bit numbers that identify a file for its lifetime.

    They do not depend on the content, because C libraries use them as the inode number.
    """
    digest = hashlib.blake2b(b"%d %d" % (device, inode), digest_size=16, person=b"wasi_trio file").digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def check_offset(offset: int) -> None:
    """Raise OSError if no file can have this offset."""
    if offset > _MAX_OFFSET:
        raise failure(errno.EINVAL)


def _write(sandbox: Sandbox, fd: int, *, data: bytes, offset: int | None) -> int:
    if offset is not None:
        return os.pwrite(fd, data, offset)
    if sys.platform.startswith("linux"):
        return os.pwritev(fd, (data,), 0, os.RWF_APPEND)
    else:
        # Append through a temporary flag of the descriptor. One guest owns it, and does one operation at a time.
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
        # Another task waits for the same event, and goes first.
        await trio.sleep(_FIFO_POLL[1])
    except PermissionError:  # epoll refuses files that are always ready
        await trio.lowlevel.checkpoint()
    finally:
        handle.release()
