"""The ``wasi_trio compile`` command. It fills wasmtime's cache, so that components start at once later."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from wasi_trio.component._errors import ComponentError, LinkError
from wasi_trio.component._imports import Imports
from wasi_trio.component._sizes import measure
from wasi_trio.runtime._code_cache import CacheError, check_cache
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._wasmtime import WasmtimeError
from wasi_trio.serve._middleware import NextHandler
from wasi_trio.wasi._imports import EVERY_STATE, link_wasi, state_imports
from wasi_trio.wasi._loading import DEFAULT, EngineOptions, LoadError, check_is_component, load_error, read_component


@dataclass(frozen=True, slots=True)
class Compiling:
    """The progress of a component, in bytes of core modules."""

    path: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled component. ``folder`` is the cache. ``unmet`` describes its imports that WASI does not provide.

    ``modules`` is the number of its core modules, and ``size`` is their size in bytes, as ``inspect`` shows them. The
    host makes ``merged`` modules of them.
    """

    path: str
    modules: int
    size: int
    merged: int
    folder: Path
    unmet: str | None


_Event: TypeAlias = Compiling | Compiled | BaseException | None


def compile_components(paths: Sequence[str], options: EngineOptions = DEFAULT) -> Iterator[Compiling | Compiled]:
    """Compile the components in files one after another, and yield progress.

    Raise LoadError for a file that is not a component, if possible before the first compilation. Raise CacheError if
    the code cannot be stored. Only the main thread may call this. From the first yield on, Ctrl-C raises
    KeyboardInterrupt in here and nowhere else.

    A thread does the work, because wasmtime's compiler cannot be interrupted. After KeyboardInterrupt the thread
    finishes the current module, so the caller must exit without waiting for it.
    """
    files = [(path, read_component(path, options.compile_limits)) for path in paths]
    for path, data in files:
        check_is_component(data, path)
    folder = check_cache()
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()

    def work() -> None:
        try:
            with _engine(options) as engine:
                for path, data in files:
                    _compile(engine, path, data, folder, events.put)
            events.put(None)
        except BaseException as error:
            events.put(error)

    # The signal handler may call put() during get(), which SimpleQueue allows.
    before = signal.signal(signal.SIGINT, lambda number, frame: events.put(KeyboardInterrupt()))
    try:
        threading.Thread(target=work, name="wasi_trio compile", daemon=True).start()
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _engine(options: EngineOptions) -> Engine:
    try:
        return options.open_cached()
    except WasmtimeError as error:
        raise CacheError(f"compiled code cannot be stored: {' '.join(str(error).split())}") from None


def _compile(engine: Engine, path: str, data: bytes, folder: Path, report: Callable[[_Event], None]) -> None:
    def progress(done: int, total: int) -> None:
        report(Compiling(path, done, total))

    unmet: str | None = None
    try:
        component = Component.compile(engine, data, progress)
        # Linking creates the modules for calls of the host, and stores them in the cache as well.
        imports = Imports()
        NextHandler().provide(imports)
        try:
            imports.update(state_imports(EVERY_STATE))
            link_wasi(component, imports)
        except LinkError as error:
            unmet = str(error)
    except ComponentError as error:
        raise load_error(path, error) from None
    modules = measure(data).modules
    merged = len({id(step.module) for step in component.steps})
    report(Compiled(path, len(modules), sum(module.size for module in modules), merged, folder, unmet))


__all__ = ["CacheError", "Compiled", "Compiling", "LoadError", "compile_components"]
