"""Components that were compiled before, as they are ready to be linked: their core modules in files that are mapped.

wasmtime's own cache keeps code compressed, by module. To have a component out of it each module has to be relinked
first, which is to be looked through, and its code decompressed: for a guest of 13 MB of JavaScript a fifth of a second
and 40 MB of memory in each process. Here processes share the code's pages, and read those alone that run.

The plan is kept with them, so that the component is not decoded either.

An entry is a folder, which is made under another name and then renamed: it is there as a whole or not at all. Whoever
can write to it can have machine code run, as with wasmtime's cache; both are folders of the user's own. An entry that
is not whole, as its checksums tell, or into which others can write, or that wasmtime does not take, is as good as none.
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
from collections.abc import Iterator, Mapping
from pathlib import Path

import wasmtime

from wasi_trio import component
from wasi_trio.component._packed_plan import pack, unpack
from wasi_trio.runtime._code_cache import CacheError, own_cache_folder
from wasi_trio.runtime._compiler import Compiled, CompiledStep, Compiler

#: bytes that all entries may come to; those that were not used for longest go
LIMIT = 2 << 30
#: the plan and how its steps are linked: a checksum, and JSON
_LINKING = "linking"
_CHECKSUM = struct.Struct(">I")


class KeptCode:
    """The entries of components that this compiler's code is for; none, and none are made, where ``kept`` is false."""

    def __init__(self, compiler: Compiler, kept: bool) -> None:
        self._compiler = compiler
        self._kept = kept
        self._suffix = f"-{_makers()}-{compiler.reservation:x}{'-details' if _details() else ''}"

    def load(self, name: str) -> Compiled | None:
        """What was kept of a component, by its name; None if there is nothing, or nothing whole."""
        folder = self._folder(name)
        if folder is None:
            return None
        try:
            with _own(folder / _LINKING) as content:
                text = content[_CHECKSUM.size :]
                if zlib.crc32(text) != _CHECKSUM.unpack_from(content)[0]:
                    raise ValueError("it is not whole")
            linking = json.loads(text)
            plan, wiring = unpack(linking["plan"])
            modules = [self._module(folder / str(number), checksum) for number, checksum in enumerate(linking["code"])]
            steps = [
                CompiledStep(modules[number], wired, size)
                for wired, (number, size) in zip(wiring, linking["steps"], strict=True)
            ]
            compiled = Compiled(plan, steps, size=int(linking["size"]))
            os.utime(folder)
        except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error, wasmtime.WasmtimeError):
            return None
        except RecursionError:  # the plan nests deeper than there is room for where this is called
            return None
        return compiled

    def _module(self, path: Path, checksum: int) -> wasmtime.Module:
        with _own(path) as code:
            if zlib.crc32(code) != checksum:
                raise ValueError(f"{path} is not whole")
        return wasmtime.Module.deserialize_file(self._compiler.wasmtime, str(path))

    def add(self, name: str, compiled: Compiled, serialized: Mapping[int, bytes]) -> None:
        """Keep a component that was compiled; where there is no place for it, it will be compiled again.

        ``serialized`` has what some modules are already known to come to, by ``id``.
        """
        folder = self._folder(name)
        if folder is None:
            return
        modules = list({id(step.module): step.module for step in compiled.steps}.values())
        numbers = {id(module): number for number, module in enumerate(modules)}
        with contextlib.suppress(OSError, RecursionError):  # types may be nested too deep to be packed
            packed = pack(compiled.plan, [step.wiring for step in compiled.steps])
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
            try:
                checksums = []
                for number, module in enumerate(modules):
                    known = serialized.get(id(module))
                    code = module.serialize() if known is None else known
                    _write(made / str(number), code)
                    checksums.append(zlib.crc32(code))
                linking = {
                    "plan": packed,
                    "code": checksums,
                    "steps": [(numbers[id(step.module)], step.size) for step in compiled.steps],
                    "size": compiled.size,
                }
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


def _makers() -> str:
    """What stands for the code of ours that makes such an entry."""
    stats = [path.stat() for path in sorted(Path(component.__path__[0]).glob("*.py"))]
    return hashlib.sha256(repr([(stat.st_size, stat.st_mtime_ns) for stat in stats]).encode()).hexdigest()[:16]


def _details() -> bool:
    """Whether code is compiled with what wasmtime needs to show the lines of backtraces."""
    return os.environ.get("WASMTIME_BACKTRACE_DETAILS", "0") not in ("", "0")


@contextlib.contextmanager
def _own(path: Path) -> Iterator[mmap.mmap]:
    """What is in a file of this user's, into which nobody else may write; raises ValueError for any other."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise ValueError(f"{path} may be somebody else's")
        with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
            yield content
    finally:
        os.close(file)


def _write(path: Path, content: bytes | bytearray) -> None:
    # As it will be run without another look, it has to be on the disk before the folder gets its name.
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _trim(folder: Path, limit: int) -> None:
    """Remove entries until the rest comes to no more than ``limit`` bytes."""
    entries: list[tuple[float, int, Path]] = []
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):  # somebody else removes it
            size = sum(file.stat().st_size for file in entry.iterdir())
            entries.append((entry.stat().st_mtime, size, entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries)[:-1]:
        if total <= limit:
            return
        shutil.rmtree(entry, ignore_errors=True)
        total -= size
