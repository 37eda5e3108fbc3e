"""wasi:filesystem 0.3."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias, TypeVar

from wasi_trio.component._billed import Billed
from wasi_trio.component._types import U8, ValType
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import discard
from wasi_trio.wasi._clocks import SECOND
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.filesystem._errors import code_of
from wasi_trio.wasi.filesystem._opened import BUFFER_SIZE, PIECE, Opened, identity_hash
from wasi_trio.wasi.filesystem._sandbox import Sandbox
from wasi_trio.wasi.filesystem._streams import ENTRIES, Entries, FileSink, FileSource
from wasi_trio.wasi.filesystem._words import flags_of, flags_to_open, kind_name, time_to_set
from wasi_trio.wasi.p3._clocks import Instant
from wasi_trio.wasi.p3._filesystem_types import DIRECTORY_ENTRY, RESULT
from wasi_trio.wasi.p3._stdio import InputSource, Outcome, OutputDrain

T = TypeVar("T")

#: the result of a call, or a coroutine for it if the call may take long
Answer: TypeAlias = Ok[Any] | Err[Variant] | Coroutine[Any, Any, Ok[Any] | Err[Variant]]


class DescriptorStat(NamedTuple):
    """The record ``descriptor-stat``."""

    type: Variant
    link_count: int
    size: int
    data_access_timestamp: Instant | None
    data_modification_timestamp: Instant | None
    status_change_timestamp: Instant | None


class DirectoryEntry(NamedTuple):
    """The record ``directory-entry``."""

    type: Variant
    name: str


class MetadataHashValue(NamedTuple):
    """The record ``metadata-hash-value``."""

    lower: int
    upper: int


class _EntrySupply:
    """The entries of a directory, for an InputSource."""

    __slots__ = ("_entries", "_reading", "_to_read")

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        #: the coroutine that reads more entries, if that takes long; ``wait`` runs it
        self._to_read: Coroutine[Any, Any, None] | None = None
        self._reading = False

    def take(self, limit: int) -> list[DirectoryEntry] | None:
        entries = self._entries
        while self.ready():
            found = entries.take(limit)
            if found:
                return [DirectoryEntry(_kind(entry.kind), entry.name) for entry in found]
            if entries.ended:
                return None
            self._to_read = entries.read()
        return []

    def ready(self) -> bool:
        return self._to_read is None and not self._reading

    async def wait(self) -> None:
        reading, self._to_read = self._to_read, None
        if reading is not None:
            self._reading = True
            try:
                await reading
            finally:
                self._reading = False

    def close(self) -> None:
        if self._to_read is not None:
            self._to_read.close()
        self._entries.close()


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

    def _answer(
        self, begin: Callable[[], T | Coroutine[Any, Any, T]], convert: Callable[[T], Any] | None = None
    ) -> Answer:
        """Call ``begin`` and return its result as ``result``, or a coroutine for it."""
        try:
            value = begin()
        except OSError as error:
            return Err(error_code(error))
        if isinstance(value, Coroutine):
            return _later(value, convert)
        return Ok(value if convert is None else convert(value))

    def read_via_stream(self, offset: int) -> tuple[SharedStream, SharedFuture]:
        """Return the content and its outcome. For an unreadable descriptor, the stream has ended with an error."""
        try:
            source = FileSource(self._opened, offset)
        except OSError as error:
            return _failed_stream(U8, error)
        outcome = Outcome(RESULT, error_code)
        supply = InputSource(
            source, self._context.own_nursery, outcome, on_end=source.close, chunk=PIECE, fill=source.fill
        )
        return supply.stream, supply.future

    def write_via_stream(self, data: Any, offset: int) -> SharedFuture:
        return self._write(data, offset)

    def append_via_stream(self, data: Any) -> SharedFuture:
        return self._write(data, None)

    def _write(self, data: Any, offset: int | None) -> SharedFuture:
        try:
            sink = FileSink(self._opened, offset, self._context.own_nursery)
        except OSError as error:
            discard(data)
            return _failed(error)
        outcome = Outcome(RESULT, error_code, sink.close)
        return OutputDrain(data.into_shared(), sink, self._context.own_nursery, outcome).future

    def advise(self, offset: int, length: int, advice: str) -> Answer:
        return self._answer(lambda: self._opened.advise(offset, length, advice))

    def sync_data(self) -> Answer:
        return self._answer(lambda: self._opened.sync(data_only=True))

    def sync(self) -> Answer:
        return self._answer(lambda: self._opened.sync(data_only=False))

    def get_flags(self) -> Ok[frozenset[str]]:
        return Ok(flags_of(self._opened))

    def get_type(self) -> Ok[Variant]:
        return Ok(_kind(self._opened.mode))

    def set_size(self, size: int) -> Answer:
        return self._answer(lambda: self._opened.set_size(size))

    def set_times(self, data_access_timestamp: Variant, data_modification_timestamp: Variant) -> Answer:
        return self._answer(
            lambda: self._opened.set_times(time_to_set(data_access_timestamp), time_to_set(data_modification_timestamp))
        )

    def read_directory(self) -> tuple[SharedStream, SharedFuture]:
        try:
            entries = Entries(self._opened)
        except OSError as error:
            return _failed_stream(DIRECTORY_ENTRY, error)
        source = _EntrySupply(entries)
        outcome = Outcome(RESULT, error_code)
        supply = InputSource(
            source, self._context.own_nursery, outcome, DIRECTORY_ENTRY, on_end=source.close, chunk=ENTRIES
        )
        return supply.stream, supply.future

    def create_directory_at(self, path: str) -> Answer:
        return self._at(lambda sandbox, fd: sandbox.make_directory(fd, path))

    def stat(self) -> Answer:
        return self._answer(self._opened.stat, _stat)

    def stat_at(self, path_flags: frozenset[str], path: str) -> Answer:
        follow = "symlink-follow" in path_flags
        return self._at(lambda sandbox, fd: sandbox.stat(fd, path, follow=follow), _stat, changes=False)

    def set_times_at(
        self,
        path_flags: frozenset[str],
        path: str,
        data_access_timestamp: Variant,
        data_modification_timestamp: Variant,
    ) -> Answer:
        follow = "symlink-follow" in path_flags

        def work(sandbox: Sandbox, fd: int) -> None:
            access, modification = time_to_set(data_access_timestamp), time_to_set(data_modification_timestamp)
            sandbox.set_times(fd, path, access, modification, follow=follow)

        return self._at(work)

    def link_at(
        self, old_path_flags: frozenset[str], old_path: str, new_descriptor: Descriptor, new_path: str
    ) -> Answer:
        """Create a hard link. To follow a symbolic link is invalid, as in wasmtime."""
        if "symlink-follow" in old_path_flags:
            return Err(Variant("invalid"))
        return self._answer(
            lambda: self._opened.at_both(
                new_descriptor._opened, lambda sandbox, fd, new: sandbox.link(fd, old_path, new, new_path)
            )
        )

    def open_at(
        self, path_flags: frozenset[str], path: str, open_flags: frozenset[str], flags: frozenset[str]
    ) -> Answer:
        wanted = flags_to_open(open_flags, flags)
        return self._answer(
            lambda: self._opened.open_at(path, wanted, follow="symlink-follow" in path_flags),
            lambda opened: Descriptor(opened, self._context),
        )

    def readlink_at(self, path: str) -> Answer:
        return self._at(lambda sandbox, fd: sandbox.read_link(fd, path), changes=False)

    def remove_directory_at(self, path: str) -> Answer:
        return self._at(lambda sandbox, fd: sandbox.remove_directory(fd, path))

    def rename_at(self, old_path: str, new_descriptor: Descriptor, new_path: str) -> Answer:
        return self._answer(
            lambda: self._opened.at_both(
                new_descriptor._opened, lambda sandbox, fd, new: sandbox.rename(fd, old_path, new, new_path)
            )
        )

    def symlink_at(self, old_path: str, new_path: str) -> Answer:
        return self._at(lambda sandbox, fd: sandbox.symlink(old_path, fd, new_path))

    def unlink_file_at(self, path: str) -> Answer:
        return self._answer(lambda: self._opened.unlink_at(path))

    def is_same_object(self, other: Descriptor) -> bool:
        return self._opened.identity == other._opened.identity

    def metadata_hash(self) -> Ok[MetadataHashValue]:
        return Ok(MetadataHashValue(*identity_hash(*self._opened.identity)))

    def metadata_hash_at(self, path_flags: frozenset[str], path: str) -> Answer:
        follow = "symlink-follow" in path_flags
        return self._at(
            lambda sandbox, fd: sandbox.stat(fd, path, follow=follow),
            lambda found: MetadataHashValue(*identity_hash(found.st_dev, found.st_ino)),
            changes=False,
        )

    def _at(
        self, work: Callable[[Sandbox, int], T], convert: Callable[[T], Any] | None = None, *, changes: bool = True
    ) -> Answer:
        return self._answer(lambda: self._opened.at(work, changes=changes), convert)


async def _later(value: Coroutine[Any, Any, T], convert: Callable[[T], Any] | None) -> Ok[Any] | Err[Variant]:
    try:
        result = await value
    except OSError as error:
        return Err(error_code(error))
    return Ok(result if convert is None else convert(result))


class Types:
    """The interface wasi:filesystem/types."""

    Descriptor = Descriptor

    def __init__(self, context: WasiContext) -> None:
        pass


class Preopens:
    """The interface wasi:filesystem/preopens."""

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    def get_directories(self) -> list[tuple[Descriptor, str]]:
        return [(Descriptor(opened, self._context), guest) for opened, guest in self._context.files.opened_preopens()]


# ---- values ----------------------------------------------------------------------------------------------------


def error_code(error: OSError) -> Variant:
    """Return the variant ``error-code``."""
    code = code_of(error)
    return Variant("other", error.strerror) if code is None else Variant(code)


def _failed(error: OSError) -> SharedFuture:
    """Return the future of an operation that has failed at its start."""
    outcome = Outcome(RESULT, error_code)
    outcome.settle(error)
    return outcome.future


def _failed_stream(element: ValType, error: OSError) -> tuple[SharedStream, SharedFuture]:
    stream = SharedStream(element)
    stream.drop()
    return stream, _failed(error)


def _kind(mode: int) -> Variant:
    """Return the variant ``descriptor-type``."""
    name = kind_name(mode)
    return Variant("other", None) if name is None else Variant(name)


def _stat(found: Any) -> DescriptorStat:
    return DescriptorStat(
        _kind(found.st_mode),
        found.st_nlink,
        found.st_size,
        Instant(*divmod(found.st_atime_ns, SECOND)),
        Instant(*divmod(found.st_mtime_ns, SECOND)),
        Instant(*divmod(found.st_ctime_ns, SECOND)),
    )
