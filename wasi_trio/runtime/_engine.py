"""The engine: wasmtime's configuration and compiler, its epochs, and what runs at this moment."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import wasmtime
import wasmtime.component

from wasi_trio.component._account import Budget
from wasi_trio.component._context import LIFT_FUEL
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._skeleton import skeleton
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._code_cache import cache_configuration
from wasi_trio.runtime._coroutines import abandon
from wasi_trio.runtime._host_calls import Interrupter
from wasi_trio.runtime._running import Running
from wasi_trio.runtime._ticker import Ticker

#: bytes of machine stack for a guest call and the host functions it calls. At wasmtime's default of 2 MiB a
#: host callback that recurses through C code can overrun it before Python's own RecursionError comes.
FIBER_STACK = 8 << 20

#: Parts of the component model that an engine may be told to admit: the type ``map``, the import attribute
#: ``implements``, the synchronous forms and cancellations of stream and future operations, and async functions that
#: have no callback. What is admitted and yet not run here is refused by name when a component is compiled.
FEATURES = frozenset(feature.replace("_", "-") for feature in ffi.config_component_model)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one component instance may use; see ``wasmtime_store_limiter``.

    ``memory`` is in bytes and for each linear memory; ``table_elements`` is for each table. ``handles`` bounds
    its handle table, ``calls`` how many calls it has under way, ``call_data`` the bytes that it passes in one of them,
    counting what Python holds them in. Spinning in a call that can not be suspended (``realloc``, a destructor) for
    longer than ``nested_seconds`` is a trap.

    ``instance_memory`` bounds the bytes of all that the instance makes the host hold: its memories and tables, its
    handles and what is behind them, calls, values and contents under way. A composition of components is one instance.
    """

    memory: int = 1 << 30
    table_elements: int = 1_000_000
    instances: int = 1_000
    tables: int = 100
    memories: int = 100
    handles: int = 100_000
    calls: int = 10_000
    call_data: int = LIFT_FUEL
    nested_seconds: float = 1.0
    instance_memory: int = 1 << 30


class Engine(Running):
    """Compiles components and runs their instances; to be used from one thread.

    ``cache`` keeps compiled code on disk between runs of the program, where wasmtime keeps it. ``features`` names what
    is to be admitted in components besides what wasmtime takes as finished: see ``FEATURES``. ``budget`` bounds what
    all instances hold together; engines may share one.
    """

    def __init__(self, *, cache: bool = True, features: Collection[str] = (), budget: Budget | None = None) -> None:
        if sys.implementation.name != "cpython":
            raise RuntimeError(f"wasi_trio needs CPython, this is {platform.python_implementation()}")
        if sys.version_info[:3] == (3, 14, 0):
            # It takes a fiber's stack for an overflowing one of its own (CPython issue 139653, mended in 3.14.1).
            raise RuntimeError("CPython 3.14.0 can not run code on fibers, 3.14.1 and later can")
        self.wasmtime = wasmtime.Engine(_config(cache, features))
        pointer = self.pointer = ctypes.cast(self.wasmtime.ptr(), ctypes.c_void_p).value
        super().__init__(Ticker(lambda: ffi.engine_increment_epoch(pointer)))
        self.interrupter = Interrupter(self)
        self.budget = Budget() if budget is None else budget
        self.epoch_callback = ffi.EpochCallback(self._at_epoch)
        self._closed = False

    def _at_epoch(self, context: int, data: int, delta: Any, kind: Any) -> int:
        """Called on the running guest's fiber at an epoch tick; see ``Store.epoch``."""
        store = self.current
        assert store is not None, "wasm runs only while a store is current"
        verdict = store.epoch()
        delta[0] = 1
        if verdict:
            return int(ffi.error_new(verdict.encode()))
        kind[0] = ffi.CONTINUE if verdict is None else ffi.YIELD
        return 0

    def close(self) -> None:
        """Stop the ticker. Components and instances of this engine must not be used afterwards."""
        if not self._closed:
            self._closed = True
            self.ticker.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def settle_orphans(self) -> None:
        """Cancel the coroutines that can not be waited for, in the task that took their first steps."""
        while self.orphans:
            await abandon(*self.orphans.pop())

    def validate(self, data: bytes) -> None:
        """Have wasmtime check that ``data`` is a valid component, but for the code in its core modules.

        Raises MalformedComponent, which says what is wrong. ``compile`` checks the modules.
        """
        try:
            wasmtime.component.Component(self.wasmtime, skeleton(data)).close()
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(_one_line(str(error))) from None

    def compile(self, code: bytes) -> wasmtime.Module:
        """Compile a core module; raises MalformedComponent if it is invalid."""
        try:
            return wasmtime.Module(self.wasmtime, code)
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None


def _config(cache: bool, features: Collection[str]) -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.memory_may_move = False
    reservation = config.memory_reservation = address_space.reservation()
    if reservation != address_space.WHOLE:
        config.memory_guard_size = address_space.SMALL_GUARD
    if cache:
        configuration = cache_configuration()
        config.cache = True if configuration is None else str(configuration)
    pointer = ctypes.cast(config.ptr(), ctypes.c_void_p)
    ffi.async_stack_size_set(pointer, FIBER_STACK)
    for feature in features:
        if feature not in FEATURES:
            raise ValueError(f"unknown feature {feature!r}, there are {', '.join(sorted(FEATURES))}")
        ffi.config_component_model[feature.replace("-", "_")](pointer, True)
    return config


def _one_line(message: str) -> str:
    """wasmtime's message and its causes as one line."""
    lines = [line.strip() for line in message.splitlines()]
    return ": ".join(line.removeprefix("0: ") for line in lines if line and line != "Caused by:")


def as_pointer(thing: Any) -> int:
    """The address in one of the wheel's pointers. Keep the object it came from alive while it is used."""
    return ctypes.cast(thing, ctypes.c_void_p).value or 0
