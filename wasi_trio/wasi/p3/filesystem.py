"""wasi:filesystem 0.3, without any directory yet: guests that import it link, and find no preopens.

A guest gets its first descriptor from ``get-directories``, so it can never have one to call a method on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from wasi_trio.component.errors import Unsupported
from wasi_trio.component.values import Err, Variant
from wasi_trio.wasi.context import WasiContext


def _denied() -> Err[Variant]:
    return Err(Variant("access"))


def _unsupported(function: str) -> Unsupported:
    return Unsupported(f"wasi:filesystem/types: {function} was called, and this host has no filesystem to offer")


class Descriptor:
    """The resource ``descriptor``."""

    __slots__ = ()

    def read_via_stream(self, offset: int) -> NoReturn:
        raise _unsupported("descriptor.read-via-stream")

    def write_via_stream(self, data: Any, offset: int) -> NoReturn:
        raise _unsupported("descriptor.write-via-stream")

    def append_via_stream(self, data: Any) -> NoReturn:
        raise _unsupported("descriptor.append-via-stream")

    def advise(self, offset: int, length: int, advice: str) -> Err[Variant]:
        return _denied()

    def sync_data(self) -> Err[Variant]:
        return _denied()

    def get_flags(self) -> Err[Variant]:
        return _denied()

    def get_type(self) -> Err[Variant]:
        return _denied()

    def set_size(self, size: int) -> Err[Variant]:
        return _denied()

    def set_times(self, data_access_timestamp: Variant, data_modification_timestamp: Variant) -> Err[Variant]:
        return _denied()

    def read_directory(self) -> NoReturn:
        raise _unsupported("descriptor.read-directory")

    def sync(self) -> Err[Variant]:
        return _denied()

    def create_directory_at(self, path: str) -> Err[Variant]:
        return _denied()

    def stat(self) -> Err[Variant]:
        return _denied()

    def stat_at(self, path_flags: frozenset[str], path: str) -> Err[Variant]:
        return _denied()

    def set_times_at(
        self,
        path_flags: frozenset[str],
        path: str,
        data_access_timestamp: Variant,
        data_modification_timestamp: Variant,
    ) -> Err[Variant]:
        return _denied()

    def link_at(
        self, old_path_flags: frozenset[str], old_path: str, new_descriptor: Descriptor, new_path: str
    ) -> Err[Variant]:
        return _denied()

    def open_at(
        self, path_flags: frozenset[str], path: str, open_flags: frozenset[str], flags: frozenset[str]
    ) -> Err[Variant]:
        return _denied()

    def readlink_at(self, path: str) -> Err[Variant]:
        return _denied()

    def remove_directory_at(self, path: str) -> Err[Variant]:
        return _denied()

    def rename_at(self, old_path: str, new_descriptor: Descriptor, new_path: str) -> Err[Variant]:
        return _denied()

    def symlink_at(self, old_path: str, new_path: str) -> Err[Variant]:
        return _denied()

    def unlink_file_at(self, path: str) -> Err[Variant]:
        return _denied()

    def is_same_object(self, other: Descriptor) -> NoReturn:
        raise _unsupported("descriptor.is-same-object")

    def metadata_hash(self) -> Err[Variant]:
        return _denied()

    def metadata_hash_at(self, path_flags: frozenset[str], path: str) -> Err[Variant]:
        return _denied()


class Types:
    """The interface wasi:filesystem/types."""

    Descriptor = Descriptor

    def __init__(self, context: WasiContext) -> None:
        pass


class Preopens:
    """The interface wasi:filesystem/preopens."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def get_directories(self) -> Sequence[tuple[Descriptor, str]]:
        return ()
