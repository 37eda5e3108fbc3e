"""The contents of files and directories, as sources and sinks for the streams of both WASI versions."""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Coroutine
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import trio

from wasi_trio.wasi._stdio import StdinSource, StdoutSink
from wasi_trio.wasi.filesystem._errors import failure
from wasi_trio.wasi.filesystem._opened import BUFFER_SIZE, PIECE, Opened, check_offset
from wasi_trio.wasi.filesystem._sandbox import Sandbox

#: maximum number of directory entries of one read
ENTRIES = 64


class FileSource(StdinSource):
    """The content of a file from an offset. Each source has its own position, except on pipes and terminals.

    Raises OSError for unreadable files. The owner must call ``close``.
    """

    __slots__ = ("_data", "_error", "_handle", "_opened", "_position", "_waits", "ended")

    def __init__(self, opened: Opened, offset: int) -> None:
        opened.check_readable()
        check_offset(offset)
        self._opened = opened
        self._handle = opened.handle.retain()
        opened.files.track(self)
        self._position = offset
        #: data that a wait has read, and no one has taken
        self._data: bytes | bytearray = b""
        self._error: OSError | None = None
        self.ended = False
        #: Whether the next bytes require a wait. A read of a FIFO that has no writer yet would report the end.
        self._waits = not opened.has_offsets

    def close(self) -> None:
        if self._opened.files.forget(self):
            self._handle.release()
        self.ended = True
        self._waits = False
        self._data = b""

    def take(self, limit: int) -> bytes | None:
        data = self._data
        if data:
            taken, self._data = data[:limit], data[limit:]
            return taken  # type: ignore[return-value]  # callers accept any buffer
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self.ended:
            return None
        if self._waits or not limit:
            return b""
        try:
            found = self._opened.read_now(min(limit, PIECE), self._position)
        except OSError as error:
            self._error = error
            raise
        if found is None:
            self._waits = True
            return b""
        self._position += len(found)
        if not found:
            self.ended = True
            return None
        return found  # type: ignore[return-value]

    def fill(self, buffer: memoryview) -> int:
        """Read new data into a buffer. Return 0 if the caller must use ``take`` instead."""
        if self._data or self._waits or self.ended or self._error is not None:
            return 0
        try:
            count = self._opened.read_into(buffer, self._position)
        except OSError as error:
            self._error = error
            return 0
        if count is None:
            self._waits = True
            return 0
        self._position += count
        self.ended = count == 0
        return count

    def ready(self) -> bool:
        return not self._waits or bool(self._data)

    async def wait(self) -> None:
        if self.ready():
            return
        opened = self._opened
        if not opened.has_offsets:
            await opened.wait_readable()
            self._waits = False
            return
        position = self._position
        try:
            data = await opened.read_later(BUFFER_SIZE, position)
        except OSError as error:
            if self._waits:
                self._waits = False
                self._error = error
            return
        if self._waits and self._position == position:  # otherwise the wait of another task ended first
            self._waits = False
            self._position += len(data)
            self._data = data
            self.ended = not data


class FileSink(StdoutSink):
    """A sink that writes to a file at an offset or, without one, at the end.

    A task of ``nursery`` does writes that may take long, and writes to full pipes. Flushed data has reached the system.
    Raises OSError for failed writes. The owner must call ``close``; accepted data is still written after that.
    """

    __slots__ = ("_closed", "_error", "_handle", "_nursery", "_opened", "_position", "_progress", "_queue")

    copies = True

    def __init__(self, opened: Opened, offset: int | None, nursery: trio.Nursery | None) -> None:
        if opened.is_directory:
            raise failure(errno.EISDIR)
        opened.check_writable()
        if offset is not None:
            check_offset(offset)
        self._opened = opened
        self._handle = opened.handle.retain()
        opened.files.track(self)
        self._position = offset
        self._nursery = nursery
        self._error: OSError | None = None
        #: data that the task is writing
        self._queue = b""
        self._progress = trio.Event()
        self._closed = False

    def close(self) -> None:
        if self._opened.files.forget(self):
            self._closed = True
            if not self._queue:
                self._handle.release()

    def permit(self) -> int:
        self._check()
        if self._queue:
            return 0
        opened = self._opened
        at_once = opened.has_offsets and opened.volume.quick and not opened.writes_wait
        return PIECE if at_once else BUFFER_SIZE

    def put(self, data: bytes) -> None:
        self._check()
        if self._queue:
            self._queue += data
            return
        try:
            while data:
                written = self._write(data)
                if isinstance(written, Coroutine):
                    written.close()
                    break
                if not written:
                    break
                data = data[written:] if written < len(data) else b""
        except OSError as error:
            self._error = error
            raise
        if data:
            if self._nursery is None:
                self._error = OSError(errno.EAGAIN, "the file has no room, and no task can wait for room")
                raise self._error
            self._queue = bytes(data)
            self._nursery.start_soon(self._write_queue)

    def flushed(self) -> bool:
        self._check()
        return not self._queue

    async def wait(self) -> None:
        if self._queue and self._error is None:
            await self._progress.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _write(self, data: bytes) -> int | Coroutine[object, object, int]:
        """Write some data. A full pipe accepts none."""
        opened = self._opened
        written = opened.write(data, self._position) if opened.has_offsets else opened.write_now(data)
        if isinstance(written, int):
            self._advance(written)
        return written

    def _advance(self, count: int) -> None:
        if self._position is not None:
            self._position += count

    async def _write_queue(self) -> None:
        try:
            while self._queue:
                data = self._queue[:PIECE]
                if not self._opened.has_offsets:
                    await self._opened.wait_writable()
                written = self._write(data)
                if isinstance(written, Coroutine):
                    written = await written
                    self._advance(written)
                self._queue = self._queue[written:]
        except OSError as error:
            self._error = error
            self._queue = b""
        finally:
            self._progress.set()
            self._progress = trio.Event()
            if self._closed:
                self._handle.release()


class Entry(NamedTuple):
    """An entry of a directory: its name and its kind as in ``st_mode``, or 0 if the kind is unknown."""

    name: str
    kind: int


class Entries:
    """The entries of a directory in the system's order, without ``.`` and ``..``, read in batches.

    The owner must call ``close``.
    """

    __slots__ = ("_error", "_found", "_handle", "_opened", "_stream", "ended")

    def __init__(self, opened: Opened) -> None:
        opened.check_directory()
        self._opened = opened
        opened.files.track(self)
        self._handle = opened.handle.retain()
        self._stream: _Stream | None = None
        self._found: list[Entry] = []
        self._error: OSError | None = None
        #: whether all entries have been read
        self.ended = False

    def close(self) -> None:
        if self._opened.files.forget(self):
            self._handle.release()
        self.ended = True
        self._stream = None  # this closes its descriptor, unless a thread still reads it
        self._found = []

    def take(self, limit: int) -> list[Entry]:
        """Return at most ``limit`` entries that were read. Raises OSError once, after the entries before a failure.

        After a name that is not UTF-8, the other entries follow.
        """
        error = self._error
        if not self._found and error is not None:
            self._error = None
            raise error.with_traceback(None)
        taken, self._found = self._found[:limit], self._found[limit:]
        return taken

    def read(self) -> Coroutine[object, object, None] | None:
        """Read a batch of entries, or record the end or a failure for ``take``."""
        outcome = self._opened.perform(functools.partial(_read_entries, self._stream, self._opened))
        if isinstance(outcome, Coroutine):
            return self._read_later(outcome)
        self._record(*outcome)
        return None

    async def _read_later(self, outcome: Coroutine[object, object, _Batch]) -> None:
        self._record(*await outcome)

    def _record(self, stream: _Stream | None, entries: list[Entry], error: OSError | None) -> None:
        if self.ended:  # closed meanwhile
            return
        self._stream = stream
        self._found += entries
        self._error = error
        if stream is None or (error is None and len(entries) < ENTRIES):
            self.ended = True
            self._stream = None


class _Stream:
    """An iteration over a directory with its own descriptor, because readers need independent positions.

    Garbage collection closes it, because a thread may use it longer than the reader.
    """

    __slots__ = ("_handle", "_scan")

    def __init__(self, opened: Opened, fd: int) -> None:
        files = opened.files
        files.reserve()  # scandir duplicates the descriptor

        def closed() -> None:
            files.unreserve()
            files.unreserve()

        try:
            self._handle = files.open(lambda: os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd))
        except BaseException:
            files.unreserve()
            raise
        self._handle.on_close = closed
        self._scan = os.scandir(self._handle.fd)

    def __del__(self) -> None:
        scan = getattr(self, "_scan", None)
        if scan is not None:
            scan.close()
            self._handle.release()

    def read(self, entries: list[Entry]) -> None:
        for entry in self._scan:
            entries.append(_entry(entry))
            if len(entries) == ENTRIES:
                break


#: the result of a read: the stream to continue with, if any, entries, and the error that ended the read
_Batch: TypeAlias = tuple[_Stream | None, list[Entry], OSError | None]


def _read_entries(stream: _Stream | None, opened: Opened, sandbox: Sandbox, fd: int) -> _Batch:
    entries: list[Entry] = []
    try:
        if stream is None:
            stream = _Stream(opened, fd)
        stream.read(entries)
    except OSError as error:
        may_continue = error.errno == errno.EILSEQ
        return stream if may_continue else None, entries, error.with_traceback(None)
    return stream, entries, None


def _entry(entry: os.DirEntry[str]) -> Entry:
    try:
        name = os.fsencode(entry.name).decode()
    except UnicodeDecodeError:
        raise failure(errno.EILSEQ) from None
    if entry.is_symlink():
        return Entry(name, stat.S_IFLNK)
    with suppress(FileNotFoundError):  # removed meanwhile
        if entry.is_dir(follow_symlinks=False):
            return Entry(name, stat.S_IFDIR)
        if entry.is_file(follow_symlinks=False):
            return Entry(name, stat.S_IFREG)
        return Entry(name, stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode))
    return Entry(name, 0)
