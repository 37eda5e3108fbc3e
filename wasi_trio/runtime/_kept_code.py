"""Stores compiled components ready to be linked, with their core modules in mapped files.

wasmtime's own cache stores compressed code by module. Loading a component from it requires relinking each module, which
scans the module, and decompressing the code. For a guest of 13 MB of JavaScript this takes 0.2 s and 40 MB of memory in
each process. With the files of this cache, processes share the code's pages and read only those that run.

The plan is stored too, so the component is not decoded either.

An entry is a folder. It is created under a temporary name and then renamed, so it is never incomplete. As with
wasmtime's cache, anyone who can write to it can run machine code, so both are in folders of the user's own. An entry is
ignored if its checksums do not match, if other users can write to it, or if wasmtime rejects it.

A checksum reads all pages of a file, most of which no process runs. So the files of an entry are sealed: they get one
modification time of the past, in whole seconds, which copies and container images preserve. A later write changes this
time. The checksum of the code is verified only without the seal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wasi_trio import component
from wasi_trio.runtime._code_cache import CacheError, own_cache_folder
from wasi_trio.runtime._compiler import Compiled, Compiler
from wasi_trio.runtime._linking import restore
from wasi_trio.runtime._wasmtime import CoreModule, WasmtimeError

#: Maximum size in bytes of all entries. The least recently used ones are removed.
LIMIT = 2 << 30
#: The file with the plan and its wiring: a checksum and JSON.
_LINKING = "linking"
_CHECKSUM = struct.Struct(">I")
#: The modification time of a file that is as it was written: the first second of the year 2000, in nanoseconds.
_SEAL = 946_684_800 * 10**9


class KeptCode:
    """The cache entries for one compiler. If ``kept`` is false, it neither has nor creates entries."""

    def __init__(self, compiler: Compiler, kept: bool) -> None:
        self._compiler = compiler
        self._kept = kept
        self._suffix = f"-{_code_version()}-{compiler.reservation:x}{'-details' if _has_backtrace_details() else ''}"

    def load(self, name: str) -> Compiled | None:
        """Load a component by its name. Return None without a valid entry."""
        folder = self._folder(name)
        if folder is None:
            return None
        try:
            with _open_own(folder / _LINKING) as (content, _):
                text = content[_CHECKSUM.size :]
                if zlib.crc32(text) != _CHECKSUM.unpack_from(content)[0]:
                    raise ValueError("its checksum does not match")
            linking = json.loads(text)
            modules = [self._module(folder / str(number), *code) for number, code in enumerate(linking["code"])]
            compiled = restore(linking, modules)
            os.utime(folder)
        except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error, WasmtimeError):
            return None
        except RecursionError:  # the plan nests too deeply for the caller's stack
            return None
        return compiled

    def _module(self, path: Path, size: int, checksum: int) -> CoreModule:
        with _open_own(path) as (code, is_sealed):
            if len(code) != size or (not is_sealed and zlib.crc32(code) != checksum):
                raise ValueError(f"the checksum of {path} does not match")
        return CoreModule.deserialize_file(self._compiler.wasmtime, bytes(path))

    def add(self, name: str, description: Mapping[str, Any], codes: Sequence[bytes]) -> None:
        """Store a component with its serialized modules. If that is not possible, it will be compiled again."""
        folder = self._folder(name)
        if folder is None:
            return
        with contextlib.suppress(OSError):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
            try:
                for number, code in enumerate(codes):
                    _write(made / str(number), code)
                linking = {**description, "code": [(len(code), zlib.crc32(code)) for code in codes]}
                text = json.dumps(linking, separators=(",", ":")).encode()
                _write(made / _LINKING, _CHECKSUM.pack(zlib.crc32(text)) + text)
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)
            except OSError:
                shutil.rmtree(made, ignore_errors=True)
                raise
            _trim(folder.parent, LIMIT)

    def _folder(self, name: str) -> Path | None:
        if not self._kept:
            return None
        try:
            return own_cache_folder() / "code" / (name + self._suffix)
        except CacheError:
            return None


def _code_version() -> str:
    """Return a hash that identifies the version of our code that creates entries."""
    stats: list[tuple[int, int]] = []
    # Not pathlib's rglob, which takes ten times as long.
    for folder, folders, files in os.walk(component.__path__[0]):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                status = os.stat(os.path.join(folder, name))
                stats.append((status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]


def _has_backtrace_details() -> bool:
    """Return whether code is compiled with the information that wasmtime needs for line numbers in backtraces."""
    return os.environ.get("WASMTIME_BACKTRACE_DETAILS", "0") not in ("", "0")


@contextlib.contextmanager
def _open_own(path: Path) -> Iterator[tuple[mmap.mmap, bool]]:
    """Yield the content of a file that only this user can write, and whether it is sealed.

    Raises ValueError for any other file.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise ValueError(f"other users may be able to write to {path}")
        with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
            yield content, status.st_mtime_ns == _SEAL
    finally:
        os.close(file)


def _write(path: Path, content: bytes | bytearray) -> None:
    # The file is run without further checks, so it must be on the disk before the folder gets its name.
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.utime(file.fileno(), ns=(_SEAL, _SEAL))


def _trim(folder: Path, limit: int) -> None:
    """Remove entries until the rest has at most ``limit`` bytes."""
    entries: list[tuple[float, int, Path]] = []
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may remove it
            size = sum(file.stat().st_size for file in entry.iterdir())
            entries.append((entry.stat().st_mtime, size, entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries)[:-1]:
        if total <= limit:
            return
        shutil.rmtree(entry, ignore_errors=True)
        total -= size
