"""Generated bindings for tests, and instances to use with them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import wasmtime

from wasi_trio import Component, Engine, Imports, Instance, WasiContext, link_wasi
from wasi_trio.bindgen import generate

HERE = Path(__file__).parent


class Written:
    """Generates bindings in a directory and imports them. ``forget`` undoes the import."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: list[str] = []
        sys.path.insert(0, str(folder))

    def __call__(self, source: str | Path, world: str | None = None, name: str = "made") -> Any:
        if isinstance(source, str):
            path = self.folder / f"{name}.wit"
            path.write_text(source)
            source = path
        generate(source, self.folder / name, world)
        importlib.invalidate_caches()
        self._names.append(name)
        return importlib.import_module(name)

    def part(self, name: str) -> Any:
        """Return a module of the bindings."""
        return importlib.import_module(name)

    def forget(self) -> None:
        sys.path.remove(str(self.folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in self._names]:
            del sys.modules[name]


def assembled(name: str) -> bytes:
    return bytes(wasmtime.wat2wasm((HERE / name).read_text()))


@asynccontextmanager
async def running(component: bytes, imports: Imports | None = None) -> AsyncIterator[Instance]:
    """Run an instance, with a task for its guest code if it needs one."""
    with Engine() as engine:
        linked = link_wasi(Component.compile(engine, component), imports)
        async with trio.open_nursery() as nursery:
            instance = await Instance.instantiate(linked, WasiContext(nursery=nursery))
            try:
                if instance.pump is not None:
                    nursery.start_soon(instance.pump.run)
                yield instance
            finally:
                instance.close()
                nursery.cancel_scope.cancel()


def files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(folder).as_posix(), path.read_text("utf-8")
