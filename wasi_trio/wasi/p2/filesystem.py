"""wasi:filesystem 0.2, without any directory yet: guests that import it link, and find no preopens.

A guest gets its first descriptor from ``get-directories``, so it can never have one to call a method on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from wasi_trio.component.errors import Unsupported
from wasi_trio.wasi.context import WasiContext
from wasi_trio.wasi.p2.io import Error


def _unsupported(function: str) -> Unsupported:
    return Unsupported(f"wasi:filesystem/types: {function} was called, and this host has no filesystem to offer")


class Descriptor:
    """The resource ``descriptor``."""

    __slots__ = ()

    def read_via_stream(self, offset: int) -> NoReturn:
        raise _unsupported("descriptor.read-via-stream")

    def write_via_stream(self, offset: int) -> NoReturn:
        raise _unsupported("descriptor.write-via-stream")

    def append_via_stream(self) -> NoReturn:
        raise _unsupported("descriptor.append-via-stream")

    def advise(self, offset: int, length: int, advice: str) -> NoReturn:
        raise _unsupported("descriptor.advise")

    def sync_data(self) -> NoReturn:
        raise _unsupported("descriptor.sync-data")

    def get_flags(self) -> NoReturn:
        raise _unsupported("descriptor.get-flags")

    def get_type(self) -> NoReturn:
        raise _unsupported("descriptor.get-type")

    def set_size(self, size: int) -> NoReturn:
        raise _unsupported("descriptor.set-size")

    def set_times(self, data_access_timestamp: Any, data_modification_timestamp: Any) -> NoReturn:
        raise _unsupported("descriptor.set-times")

    def read(self, length: int, offset: int) -> NoReturn:
        raise _unsupported("descriptor.read")

    def write(self, buffer: bytes, offset: int) -> NoReturn:
        raise _unsupported("descriptor.write")

    def read_directory(self) -> NoReturn:
        raise _unsupported("descriptor.read-directory")

    def sync(self) -> NoReturn:
        raise _unsupported("descriptor.sync")

    def create_directory_at(self, path: str) -> NoReturn:
        raise _unsupported("descriptor.create-directory-at")

    def stat(self) -> NoReturn:
        raise _unsupported("descriptor.stat")

    def stat_at(self, path_flags: frozenset[str], path: str) -> NoReturn:
        raise _unsupported("descriptor.stat-at")

    def set_times_at(
        self, path_flags: frozenset[str], path: str, data_access_timestamp: Any, data_modification_timestamp: Any
    ) -> NoReturn:
        raise _unsupported("descriptor.set-times-at")

    def link_at(
        self, old_path_flags: frozenset[str], old_path: str, new_descriptor: Descriptor, new_path: str
    ) -> NoReturn:
        raise _unsupported("descriptor.link-at")

    def open_at(
        self, path_flags: frozenset[str], path: str, open_flags: frozenset[str], flags: frozenset[str]
    ) -> NoReturn:
        raise _unsupported("descriptor.open-at")

    def readlink_at(self, path: str) -> NoReturn:
        raise _unsupported("descriptor.readlink-at")

    def remove_directory_at(self, path: str) -> NoReturn:
        raise _unsupported("descriptor.remove-directory-at")

    def rename_at(self, old_path: str, new_descriptor: Descriptor, new_path: str) -> NoReturn:
        raise _unsupported("descriptor.rename-at")

    def symlink_at(self, old_path: str, new_path: str) -> NoReturn:
        raise _unsupported("descriptor.symlink-at")

    def unlink_file_at(self, path: str) -> NoReturn:
        raise _unsupported("descriptor.unlink-file-at")

    def is_same_object(self, other: Descriptor) -> NoReturn:
        raise _unsupported("descriptor.is-same-object")

    def metadata_hash(self) -> NoReturn:
        raise _unsupported("descriptor.metadata-hash")

    def metadata_hash_at(self, path_flags: frozenset[str], path: str) -> NoReturn:
        raise _unsupported("descriptor.metadata-hash-at")


class DirectoryEntryStream:
    """The resource ``directory-entry-stream``."""

    __slots__ = ()

    def read_directory_entry(self) -> NoReturn:
        raise _unsupported("directory-entry-stream.read-directory-entry")


class Types:
    """The interface wasi:filesystem/types."""

    Descriptor = Descriptor
    DirectoryEntryStream = DirectoryEntryStream

    def __init__(self, context: WasiContext) -> None:
        pass

    def filesystem_error_code(self, err: Error) -> str | None:
        """None: no stream of this host comes from a filesystem."""
        return None


class Preopens:
    """The interface wasi:filesystem/preopens."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def get_directories(self) -> Sequence[tuple[Descriptor, str]]:
        return ()
