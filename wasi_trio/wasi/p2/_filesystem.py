"""wasi:filesystem 0.2."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar, cast

from wasi_trio.component._billed import Billed
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi._clocks import SECOND
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.filesystem._errors import code_of
from wasi_trio.wasi.filesystem._opened import BUFFER_SIZE, Opened, identity_hash
from wasi_trio.wasi.filesystem._sandbox import Sandbox
from wasi_trio.wasi.filesystem._streams import Entries, FileSink, FileSource
from wasi_trio.wasi.filesystem._words import flags_of, flags_to_open, kind_name, time_to_set
from wasi_trio.wasi.p2._cli import SinkStream, SourceStream
from wasi_trio.wasi.p2._clocks import Datetime
from wasi_trio.wasi.p2._io import Error, StreamError, closed, failed

T = TypeVar("T")
R = TypeVar("R")


class FileFailure(NamedTuple):
    """The reason of an ``error`` of a file's stream."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


class DescriptorStat(NamedTuple):
    """The record ``descriptor-stat``."""

    type: str
    link_count: int
    size: int
    data_access_timestamp: Datetime | None
    data_modification_timestamp: Datetime | None
    status_change_timestamp: Datetime | None


class DirectoryEntry(NamedTuple):
    """The record ``directory-entry``."""

    type: str
    name: str


class MetadataHashValue(NamedTuple):
    """The record ``metadata-hash-value``."""

    lower: int
    upper: int


class FileInput(SourceStream):
    """An ``input-stream`` of a file."""

    __slots__ = ()

    def _failure(self, error: OSError) -> Err[StreamError]:
        return _stream_failure(error)

    def on_drop(self) -> None:
        cast(FileSource, self._source).close()


class FileOutput(SinkStream):
    """An ``output-stream`` to a file."""

    __slots__ = ()

    def _failure(self, error: OSError) -> Err[StreamError]:
        return _stream_failure(error)

    def on_drop(self) -> None:
        cast(FileSink, self._sink).close()


class DirectoryEntryStream:
    """The resource ``directory-entry-stream``."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def on_drop(self) -> None:
        self._entries.close()

    async def read_directory_entry(self) -> Ok[DirectoryEntry | None] | Err[str]:
        entries = self._entries
        try:
            while True:
                found = entries.take(1)
                if found:
                    return Ok(DirectoryEntry(_kind(found[0].kind), found[0].name))
                if entries.ended:
                    return Ok(None)
                reading = entries.read()
                if reading is not None:
                    await reading
        except OSError as error:
            return Err(error_code(error))


class Descriptor(Billed):
    """The resource ``descriptor``."""

    __slots__ = ("_context", "_opened")

    #: the size of a stream's buffer
    COST = BUFFER_SIZE

    def __init__(self, opened: Opened, context: WasiContext) -> None:
        self._opened = opened
        self._context = context

    def on_drop(self) -> None:
        self._opened.close()

    async def _answer(
        self, begin: Callable[[], T | Coroutine[Any, Any, T]], convert: Callable[[T], Any] | None = None
    ) -> Ok[Any] | Err[str]:
        """Call ``begin``, await its result if necessary, and return it as ``result``."""
        try:
            value = begin()
            if isinstance(value, Coroutine):
                value = await value
            return Ok(value if convert is None else convert(value))
        except OSError as error:
            return Err(error_code(error))

    def read_via_stream(self, offset: int) -> Ok[FileInput] | Err[str]:
        """Return the stream. The error for a directory is is-directory, and for a write-only file bad-descriptor."""
        try:
            return Ok(FileInput(FileSource(self._opened, offset)))
        except OSError as error:
            return Err(error_code(error))

    def write_via_stream(self, offset: int) -> Ok[FileOutput] | Err[str]:
        return self._output(offset)

    def append_via_stream(self) -> Ok[FileOutput] | Err[str]:
        return self._output(None)

    def _output(self, offset: int | None) -> Ok[FileOutput] | Err[str]:
        try:
            return Ok(FileOutput(FileSink(self._opened, offset, self._context.own_nursery)))
        except OSError as error:
            return Err(error_code(error))

    async def advise(self, offset: int, length: int, advice: str) -> Ok[None] | Err[str]:
        return await self._answer(lambda: self._opened.advise(offset, length, advice))

    async def sync_data(self) -> Ok[None] | Err[str]:
        return await self._answer(lambda: self._opened.sync(data_only=True))

    async def sync(self) -> Ok[None] | Err[str]:
        return await self._answer(lambda: self._opened.sync(data_only=False))

    def get_flags(self) -> Ok[frozenset[str]]:
        return Ok(flags_of(self._opened))

    def get_type(self) -> Ok[str]:
        return Ok(_kind(self._opened.mode))

    async def set_size(self, size: int) -> Ok[None] | Err[str]:
        return await self._answer(lambda: self._opened.set_size(size))

    async def set_times(
        self, data_access_timestamp: Variant, data_modification_timestamp: Variant
    ) -> Ok[None] | Err[str]:
        return await self._answer(
            lambda: self._opened.set_times(time_to_set(data_access_timestamp), time_to_set(data_modification_timestamp))
        )

    # Written out, because programs spend most of their file time in these two functions.

    async def read(self, length: int, offset: int) -> Ok[tuple[bytes | bytearray, bool]] | Err[str]:
        try:
            data = self._opened.read(length, offset)
            if isinstance(data, Coroutine):
                data = await data
        except OSError as error:
            return Err(error_code(error))
        return Ok((data, not data and length > 0))

    async def write(self, buffer: bytes, offset: int) -> Ok[int] | Err[str]:
        try:
            written = self._opened.write(buffer, offset)
            return Ok(await written if isinstance(written, Coroutine) else written)
        except OSError as error:
            return Err(error_code(error))

    def read_directory(self) -> Ok[DirectoryEntryStream] | Err[str]:
        try:
            return Ok(DirectoryEntryStream(Entries(self._opened)))
        except OSError as error:
            return Err(error_code(error))

    async def create_directory_at(self, path: str) -> Ok[None] | Err[str]:
        return await self._at(lambda sandbox, fd: sandbox.make_directory(fd, path))

    async def stat(self) -> Ok[DescriptorStat] | Err[str]:
        return await self._answer(self._opened.stat, _stat)

    async def stat_at(self, path_flags: frozenset[str], path: str) -> Ok[DescriptorStat] | Err[str]:
        follow = "symlink-follow" in path_flags
        return await self._at(lambda sandbox, fd: sandbox.stat(fd, path, follow=follow), _stat, changes=False)

    async def set_times_at(
        self,
        path_flags: frozenset[str],
        path: str,
        data_access_timestamp: Variant,
        data_modification_timestamp: Variant,
    ) -> Ok[None] | Err[str]:
        follow = "symlink-follow" in path_flags

        def work(sandbox: Sandbox, fd: int) -> None:
            access, modification = time_to_set(data_access_timestamp), time_to_set(data_modification_timestamp)
            sandbox.set_times(fd, path, access, modification, follow=follow)

        return await self._at(work)

    async def link_at(
        self, old_path_flags: frozenset[str], old_path: str, new_descriptor: Descriptor, new_path: str
    ) -> Ok[None] | Err[str]:
        """Create a hard link. To follow a symbolic link is invalid, as in wasmtime."""
        if "symlink-follow" in old_path_flags:
            return Err("invalid")
        return await self._answer(
            lambda: self._opened.at_both(
                new_descriptor._opened, lambda sandbox, fd, new: sandbox.link(fd, old_path, new, new_path)
            )
        )

    async def open_at(
        self, path_flags: frozenset[str], path: str, open_flags: frozenset[str], flags: frozenset[str]
    ) -> Ok[Descriptor] | Err[str]:
        wanted = flags_to_open(open_flags, flags)
        return await self._answer(
            lambda: self._opened.open_at(path, wanted, follow="symlink-follow" in path_flags),
            lambda opened: Descriptor(opened, self._context),
        )

    async def readlink_at(self, path: str) -> Ok[str] | Err[str]:
        return await self._at(lambda sandbox, fd: sandbox.read_link(fd, path), changes=False)

    async def remove_directory_at(self, path: str) -> Ok[None] | Err[str]:
        return await self._at(lambda sandbox, fd: sandbox.remove_directory(fd, path))

    async def rename_at(self, old_path: str, new_descriptor: Descriptor, new_path: str) -> Ok[None] | Err[str]:
        return await self._answer(
            lambda: self._opened.at_both(
                new_descriptor._opened, lambda sandbox, fd, new: sandbox.rename(fd, old_path, new, new_path)
            )
        )

    async def symlink_at(self, old_path: str, new_path: str) -> Ok[None] | Err[str]:
        return await self._at(lambda sandbox, fd: sandbox.symlink(old_path, fd, new_path))

    async def unlink_file_at(self, path: str) -> Ok[None] | Err[str]:
        return await self._answer(lambda: self._opened.unlink_at(path))

    def is_same_object(self, other: Descriptor) -> bool:
        return self._opened.identity == other._opened.identity

    def metadata_hash(self) -> Ok[MetadataHashValue]:
        return Ok(MetadataHashValue(*identity_hash(*self._opened.identity)))

    async def metadata_hash_at(self, path_flags: frozenset[str], path: str) -> Ok[MetadataHashValue] | Err[str]:
        follow = "symlink-follow" in path_flags
        return await self._at(
            lambda sandbox, fd: sandbox.stat(fd, path, follow=follow),
            lambda found: MetadataHashValue(*identity_hash(found.st_dev, found.st_ino)),
            changes=False,
        )

    async def _at(
        self, work: Callable[[Sandbox, int], T], convert: Callable[[T], Any] | None = None, *, changes: bool = True
    ) -> Ok[Any] | Err[str]:
        return await self._answer(lambda: self._opened.at(work, changes=changes), convert)


class Types:
    """The interface wasi:filesystem/types."""

    Descriptor = Descriptor
    DirectoryEntryStream = DirectoryEntryStream

    def __init__(self, context: WasiContext) -> None:
        pass

    def filesystem_error_code(self, err: Error) -> str | None:
        """Return the code of a failed file stream, or None for other errors."""
        return err.reason.code if isinstance(err.reason, FileFailure) else None


class Preopens:
    """The interface wasi:filesystem/preopens."""

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    def get_directories(self) -> list[tuple[Descriptor, str]]:
        return [(Descriptor(opened, self._context), guest) for opened, guest in self._context.files.opened_preopens()]


# ---- values ----------------------------------------------------------------------------------------------------


def error_code(error: OSError) -> str:
    """Return the enum ``error-code``."""
    return "would-block" if isinstance(error, BlockingIOError) else code_of(error) or "io"


def _stream_failure(error: OSError) -> Err[StreamError]:
    if isinstance(error, BrokenPipeError):
        return closed()
    return failed(FileFailure(error_code(error), error.strerror or "unknown failure"))


def _kind(mode: int) -> str:
    """Return the enum ``descriptor-type``."""
    return kind_name(mode) or "unknown"


def _time(nanoseconds: int) -> Datetime | None:
    """Return a ``datetime``, or None for a time before 1970."""
    return Datetime(*divmod(nanoseconds, SECOND)) if nanoseconds >= 0 else None


def _stat(found: Any) -> DescriptorStat:
    return DescriptorStat(
        _kind(found.st_mode),
        found.st_nlink,
        found.st_size,
        _time(found.st_atime_ns),
        _time(found.st_mtime_ns),
        _time(found.st_ctime_ns),
    )
