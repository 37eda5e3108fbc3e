"""Components that were compiled before, as they are ready to be linked: their core modules in files that are mapped.

wasmtime's own cache keeps code compressed, by module. To have a component out of it each module has to be relinked
first, which is to be looked through, and its code decompressed: for a guest of 13 MB of JavaScript a fifth of a second
and 40 MB of memory in each process. Here processes share the code's pages, and read those alone that run.

An entry is a folder, which is made under another name and then renamed: it is there as a whole or not at all. Whoever
can write to it can have machine code run, as with wasmtime's cache; both are folders of the user's own. An entry that
cannot be read, or that wasmtime does not take, is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wasmtime

from wasi_trio.component import _bulk, _plan, _relink
from wasi_trio.component._definitions import Sort
from wasi_trio.component._plan import CanonFunc, CoreExport, CoreItem, Plan
from wasi_trio.component._relink import Wiring
from wasi_trio.runtime._code_cache import CacheError, own_cache_folder
from wasi_trio.runtime._compiler import Compiled, CompiledStep, Compiler

#: bytes that all entries may come to; those that were not used for longest go
LIMIT = 2 << 30
_LINKING = "linking.json"


class KeptCode:
    """The entries of components that this compiler's code is for; none, and none are made, where ``kept`` is false."""

    def __init__(self, compiler: Compiler, kept: bool) -> None:
        self._compiler = compiler
        self._kept = kept
        self._suffix = f"-{_makers()}-{compiler.reservation:x}{'-details' if _details() else ''}"

    def load(self, name: str, plan: Plan) -> Compiled | None:
        """What was kept of the component that has this plan, under its name; None if there is nothing."""
        folder = self._folder(name)
        if folder is None:
            return None
        try:
            linking = json.loads((folder / _LINKING).read_bytes())
            engine = self._compiler.wasmtime
            modules = [
                wasmtime.Module.deserialize_file(engine, str(folder / str(number)))
                for number in range(linking["modules"])
            ]
            steps = [_unpacked(step, plan, modules) for step in linking["steps"]]
            os.utime(folder)
        except (OSError, ValueError, KeyError, TypeError, IndexError, wasmtime.WasmtimeError):
            return None
        return Compiled(plan, steps) if len(steps) == len(plan.steps) else None

    def add(self, name: str, compiled: Compiled, serialized: Mapping[int, bytes]) -> None:
        """Keep a component that was compiled; where there is no place for it, it will be compiled again.

        ``serialized`` has what some modules are already known to come to, by ``id``.
        """
        folder = self._folder(name)
        if folder is None:
            return
        modules = list({id(step.module): step.module for step in compiled.steps}.values())
        numbers = {id(module): number for number, module in enumerate(modules)}
        linking = {
            "modules": len(modules),
            "steps": [_packed(step, numbers[id(step.module)]) for step in compiled.steps],
        }
        with contextlib.suppress(OSError):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
            try:
                for number, module in enumerate(modules):
                    code = serialized.get(id(module))
                    _write(made / str(number), module.serialize() if code is None else code)
                _write(made / _LINKING, json.dumps(linking, separators=(",", ":")).encode())
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
    files = [module.__file__ for module in (_bulk, _plan, _relink)]
    stats = [os.stat(file) for file in files if file is not None]
    return hashlib.sha256(repr([(stat.st_size, stat.st_mtime_ns) for stat in stats]).encode()).hexdigest()[:16]


def _details() -> bool:
    """Whether code is compiled with what wasmtime needs to show the lines of backtraces."""
    return os.environ.get("WASMTIME_BACKTRACE_DETAILS", "0") not in ("", "0")


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


def _packed(step: CompiledStep, module: int) -> dict[str, Any]:
    wiring = step.wiring
    return {
        "module": module,
        "imports": [
            [item.index] if isinstance(item, CanonFunc) else [item.slot, item.name, item.sort.value]
            for item in wiring.imports
        ],
        "memories": [name.hex() for name in wiring.memories],
        "tables": [name.hex() for name in wiring.tables],
        "memory_size": wiring.memory_size,
        "size": step.size,
    }


def _unpacked(packed: Mapping[str, Any], plan: Plan, modules: list[wasmtime.Module]) -> CompiledStep:
    wiring = Wiring(
        tuple(_item(item, plan) for item in packed["imports"]),
        tuple(map(bytes.fromhex, packed["memories"])),
        tuple(map(bytes.fromhex, packed["tables"])),
        int(packed["memory_size"]),
    )
    return CompiledStep(modules[packed["module"]], wiring, int(packed["size"]))


def _item(packed: list[Any], plan: Plan) -> CoreItem:
    if len(packed) == 1:
        plan.canons[packed[0]]  # or it is of another plan
        return CanonFunc(packed[0])
    slot, name, sort = packed
    return CoreExport(slot, name, Sort(sort))
