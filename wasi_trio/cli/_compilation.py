"""What ``wasi_trio compile`` does: it has wasmtime keep the code of components, so that they start at once later."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import wasmtime

from wasi_trio.component._errors import ComponentError, LinkError
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._code_cache import CacheError, check_cache
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve._middleware import NextHandler
from wasi_trio.wasi._imports import EVERY_STATE, link_wasi, state_imports
from wasi_trio.wasi._loading import DEFAULT, EngineOptions, LoadError, check_is_component, read_component, refused


@dataclass(frozen=True, slots=True)
class Compiling:
    """How far a component is, in bytes of core modules."""

    path: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A component whose code is kept now in ``folder``; ``unmet`` says what it needs that WASI has not."""

    path: str
    modules: int
    size: int
    folder: Path
    unmet: str | None


_Event: TypeAlias = Compiling | Compiled | BaseException | None


def compile_components(paths: Sequence[str], options: EngineOptions = DEFAULT) -> Iterator[Compiling | Compiled]:
    """Compile the components in files, one after the other, and tell how far that is.

    Raises LoadError for a file that is no component, which is found before the first is compiled where it is plain to
    see, and CacheError where the code cannot be kept. For the main thread only: from the first that this tells on,
    Ctrl-C raises KeyboardInterrupt in here and nowhere else. The work is done in a thread of its own, as wasmtime's
    compiler cannot be interrupted. After KeyboardInterrupt that goes on until the module at hand is compiled, so that
    the process has to end without waiting for it.
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

    # put() may be called in the middle of get(), which a signal handler does.
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
        return options.caching()
    except wasmtime.WasmtimeError as error:
        raise CacheError(f"compiled code cannot be stored: {' '.join(str(error).split())}") from None


def _compile(engine: Engine, path: str, data: bytes, folder: Path, tell: Callable[[_Event], None]) -> None:
    def progress(done: int, total: int) -> None:
        tell(Compiling(path, done, total))

    unmet: str | None = None
    try:
        component = Component.compile(engine, data, progress)
        # To link it makes the modules that it calls the host through; these are kept too.
        imports = Imports()
        NextHandler().provide(imports)
        try:
            imports.update(state_imports(EVERY_STATE))
            link_wasi(component, imports)
        except LinkError as error:
            unmet = str(error)
    except ComponentError as error:
        raise refused(path, error) from None
    sizes = {id(step.module): step.size for step in component.steps}
    tell(Compiled(path, len(sizes), sum(sizes.values()), folder, unmet))


__all__ = ["CacheError", "Compiled", "Compiling", "LoadError", "compile_components"]
