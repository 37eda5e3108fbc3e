"""The contents of files and directories, piece by piece, as sources and sinks of the streams of either version."""

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
from wasi_trio.wasi.filesystem._opened import KEPT, PIECE, Opened, check_offset
from wasi_trio.wasi.filesystem._sandbox import Sandbox

#: entries of a directory that are looked at in one go
ENTRIES = 64


class FileSource(StdinSource):
    """What a file holds from an offset on. Each has a position of its own; pipes and terminals have one for all.

    Raises OSError for what cannot be read. ``close`` it at the end.
    """

    __slots__ = ("_data", "_error", "_handle", "_opened", "_position", "_waits", "ended")

    def __init__(self, opened: Opened, offset: int) -> None:
        opened.check_readable()
        check_offset(offset)
        self._opened = opened
        self._handle = opened.handle.retain()
        opened.files.track(self)
        self._position = offset
        #: what was read by waiting for it, and not taken yet
        self._data: bytes | bytearray = b""
        self._error: OSError | None = None
        self.ended = False
        #: whether the next bytes have to be waited for. A FIFO that nobody writes yet would be at its end.
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
            return taken  # type: ignore[return-value]  # whoever takes it wants a buffer
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
        """Read into a buffer what ``take`` would give that was not read before; 0 leaves everything to ``take``."""
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
            data = await opened.read_later(KEPT, position)
        except OSError as error:
            if self._waits:
                self._waits = False
                self._error = error
            return
        if self._waits and self._position == position:  # else another task's wait was over first
            self._waits = False
            self._position += len(data)
            self._data = data
            self.ended = not data


class FileSink(StdoutSink):
    """Writes to a file, from an offset on or, without one, at its end.

    What may take long, or what a pipe has no room for, is written by a task of ``nursery``; what is flushed was given
    to the system. Raises OSError for what cannot be written. ``close`` it at the end: what was put is written still.
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
        #: what is being written, in the task
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
        return PIECE if at_once else KEPT

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
                self._error = OSError(errno.EAGAIN, "there is no room, and no task to wait for it")
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
        """Write some; a pipe that has no room takes none."""
        opened = self._opened
        written = opened.write(data, self._position) if opened.has_offsets else opened.write_now(data)
        if isinstance(written, int):
            self._moved(written)
        return written

    def _moved(self, count: int) -> None:
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
                    self._moved(written)
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
    """An entry of a directory: its name, and its kind as in ``st_mode``, 0 if that is not known."""

    name: str
    kind: int


class Entries:
    """The entries of a directory, in the system's order and without ``.`` and ``..``, a few at a time.

    ``close`` it at the end.
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
        #: whether there are none but those that were read
        self.ended = False

    def close(self) -> None:
        if self._opened.files.forget(self):
            self._handle.release()
        self.ended = True
        self._stream = None  # and with it goes its descriptor, unless a thread reads it
        self._found = []

    def take(self, limit: int) -> list[Entry]:
        """At most so many of those that were read. Raises OSError once there are none before what failed."""
        if not self._found and self._error is not None:
            raise self._error.with_traceback(None)
        taken, self._found = self._found[:limit], self._found[limit:]
        return taken

    def read(self) -> Coroutine[object, object, None] | None:
        """Read some more, or find the end, or what ``take`` is to raise."""
        outcome = self._opened.perform(functools.partial(_read_entries, self._stream, self._opened))
        if isinstance(outcome, Coroutine):
            return self._read_later(outcome)
        self._have(*outcome)
        return None

    async def _read_later(self, outcome: Coroutine[object, object, _Batch]) -> None:
        self._have(*await outcome)

    def _have(self, stream: _Stream | None, entries: list[Entry], error: OSError | None) -> None:
        if self.ended:  # closed meanwhile
            return
        self._stream = stream
        self._found += entries
        self._error = error
        if error is not None or len(entries) < ENTRIES:
            self.ended = True
            self._stream = None


class _Stream:
    """A directory that is being read, by a descriptor of its own: it has a position, which each reader wants to have.

    It is closed when nothing refers to it any more: a thread may have it longer than who wanted its entries.
    """

    __slots__ = ("_handle", "_scan")

    def __init__(self, opened: Opened, fd: int) -> None:
        files = opened.files
        files.reserve()  # one more, as Python makes another one of it

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


#: what a read of entries gives: what to go on with, what there was, and why there was no more
_Batch: TypeAlias = tuple[_Stream | None, list[Entry], OSError | None]


def _read_entries(stream: _Stream | None, opened: Opened, sandbox: Sandbox, fd: int) -> _Batch:
    entries: list[Entry] = []
    try:
        if stream is None:
            stream = _Stream(opened, fd)
        stream.read(entries)
    except OSError as error:
        return None, entries, error.with_traceback(None)
    return stream, entries, None


def _entry(entry: os.DirEntry[str]) -> Entry:
    try:
        name = os.fsencode(entry.name).decode()
    except UnicodeDecodeError:
        raise failure(errno.EILSEQ) from None
    if entry.is_symlink():
        return Entry(name, stat.S_IFLNK)
    with suppress(FileNotFoundError):  # gone since
        if entry.is_dir(follow_symlinks=False):
            return Entry(name, stat.S_IFDIR)
        if entry.is_file(follow_symlinks=False):
            return Entry(name, stat.S_IFREG)
        return Entry(name, stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode))
    return Entry(name, 0)
