"""Remembers which components were compiled before, without a fault and within their limits.

Such a component is then compiled like a trusted one: in the process that needs it, from wasmtime's cache. A verdict is
an empty file. Its name is a hash of the component and the compiler. Anyone who can write to this folder can also write
to wasmtime's folder beside it, whose content is run as machine code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._code_cache import CacheError, own_cache_folder


class Verdicts:
    """The verdicts on components compiled with these features. If ``kept`` is false, none are stored or found."""

    def __init__(self, features: Collection[str], kept: bool) -> None:
        library = os.stat(ffi.LIBRARY)
        self._compiler = f"2 {library.st_size} {library.st_mtime_ns} {','.join(sorted(features))}\n".encode()
        self._kept = kept

    def name(self, data: bytes) -> str:
        """Return the name of the verdict on a component."""
        digest = hashlib.sha256(self._compiler)
        digest.update(data)
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Return whether a component was compiled before, by its name."""
        path = self._path(name)
        return path is not None and path.exists()

    def add(self, name: str) -> None:
        """Store that a component was compiled. If that is not possible, it will be checked again."""
        path = self._path(name)
        if path is not None:
            with contextlib.suppress(OSError):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    def _path(self, name: str) -> Path | None:
        if not self._kept:
            return None
        try:
            folder = own_cache_folder()
        except CacheError:
            return None
        return folder / "compiled" / name
