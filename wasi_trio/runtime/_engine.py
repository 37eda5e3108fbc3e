"""The engine: wasmtime's configuration and compiler, its epochs, and the state of running code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasi_trio.component._account import Budget
from wasi_trio.component._context import LIFT_FUEL
from wasi_trio.component._features import BY_NAME
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._compiler import Compiled, Compiler, Progress
from wasi_trio.runtime._coroutines import abandon
from wasi_trio.runtime._host_calls import Interrupter
from wasi_trio.runtime._kept_code import KeptCode
from wasi_trio.runtime._linking import describe, restore
from wasi_trio.runtime._profile_options import GuestProfile, NativeProfile, Profiling
from wasi_trio.runtime._running import Running
from wasi_trio.runtime._ticker import Ticker
from wasi_trio.runtime._verdicts import Verdicts
from wasi_trio.runtime._wasmtime import CoreModule

if TYPE_CHECKING:
    from wasi_trio.runtime._profile_sampling import Profiler

#: The features that an engine can enable. Those of core modules are ``gc``, ``exceptions``, ``tail-call`` and others.
#: Those of the component model are the type ``map``, the import attribute ``implements``, the synchronous forms and
#: cancellations of stream and future operations, and async functions without a callback. If a component uses a feature
#: that is enabled but not supported here, compiling it raises an error with the feature's name.
FEATURES = frozenset(BY_NAME)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one component instance. See also ``wasmtime_store_limiter``.

    ``memory`` is the maximum size of each linear memory in bytes, and ``table_elements`` that of each table.
    ``handles`` limits the handle table, and ``calls`` the calls in progress. ``call_data`` limits the bytes passed in
    one call, measured as Python objects. A call that cannot be suspended (``realloc``, a destructor, ``post-return``)
    traps after about ``nested_seconds`` of processor time, because nothing else can run meanwhile. If another component
    of the composition makes an asynchronous call and the callee computes before its first wait, the callee traps after
    ``non_preemptible_seconds``.

    ``instance_memory`` limits the bytes of host memory that the instance occupies: its memories and tables, its handles
    and the objects behind them, and calls, values and contents in progress. A composition of components is one
    instance.
    """

    memory: int = 1 << 30
    table_elements: int = 1_000_000
    instances: int = 1_000
    tables: int = 100
    memories: int = 100
    handles: int = 100_000
    calls: int = 10_000
    call_data: int = LIFT_FUEL
    nested_seconds: float = 0.03
    non_preemptible_seconds: float = 1.0
    instance_memory: int = 1 << 30


class Engine(Running):
    """Compiles components and runs their instances. All use must be from one thread.

    ``cache`` makes wasmtime store compiled code on disk between runs of the program. ``features`` names features of
    WebAssembly and the component model to enable. See ``FEATURES``.

    With ``compile_limits``, each component that was not compiled before is validated and compiled in a separate
    process, within these limits. A program that trusts its components does not need that. ``budget`` limits the memory
    of all instances together. Engines may share one. ``profile`` enables profiling of guests. ``close`` writes the
    profiles of instances that still exist.
    """

    def __init__(
        self,
        *,
        cache: bool = True,
        features: Collection[str] = (),
        compile_limits: CompileLimits | None = None,
        budget: Budget | None = None,
        profile: Profiling | None = None,
    ) -> None:
        if sys.implementation.name != "cpython":
            import platform

            raise RuntimeError(f"wasi_trio requires CPython, but this is {platform.python_implementation()}")
        if sys.version_info[:3] == (3, 14, 0):
            # It mistakes a fiber's stack for an overflow of its own stack (CPython issue 139653, fixed in 3.14.1).
            raise RuntimeError("CPython 3.14.0 cannot run code on fibers; use 3.14.1 or later")
        native = profile.name if isinstance(profile, NativeProfile) else None
        self.compiler = Compiler(cache, features, profiler=native)
        self.compile_limits = compile_limits
        self._verdicts = Verdicts(self.compiler.features, kept=cache)
        # Profilers need the modules' code, or must observe its compilation.
        self._kept_code = KeptCode(self.compiler, kept=cache and profile is None)
        pointer = self.pointer = self.compiler.wasmtime.pointer
        super().__init__(Ticker(lambda: ffi.engine_increment_epoch(pointer)))
        self.interrupter = Interrupter(self)
        self.budget = Budget() if budget is None else budget
        #: Samples the guests, if a guest profile is requested.
        self.profiler: Profiler | None = None
        if isinstance(profile, GuestProfile):
            from wasi_trio.runtime._profile_sampling import Profiler

            self.profiler = Profiler(self, profile)
            self.ticker.beats, self.ticker.beat = profile.interval, self.profiler.beat
        self.epoch_callback = ffi.EpochCallback(self._at_epoch if self.profiler is None else self._at_profiled_epoch)
        self._closed = False

    def _at_epoch(self, context: int, data: int, delta: Any, kind: Any) -> int:
        """Handle an epoch tick on the running guest's fiber. See ``Store.epoch``."""
        store = self.current
        assert store is not None, "wasm runs only while a store is current"
        verdict = store.epoch()
        delta[0] = 1
        if verdict:
            return int(ffi.error_new(verdict.encode()))
        kind[0] = ffi.CONTINUE if verdict is None else ffi.YIELD
        return 0

    def _at_profiled_epoch(self, context: int, data: int, delta: Any, kind: Any) -> int:
        """Handle an epoch tick as ``_at_epoch`` does, and take a sample."""
        assert self.profiler is not None
        verdict = self._at_epoch(context, data, delta, kind)
        self.profiler.sample(self.current)
        return verdict

    def close(self) -> None:
        """Stop the ticker, and write profiles. Components and instances of this engine must not be used afterwards."""
        if not self._closed:
            self._closed = True
            self.ticker.close()
            if self.profiler is not None:
                self.profiler.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def settle_orphans(self) -> None:
        """Cancel the coroutines for which no task can wait, in the task that took their first steps."""
        while self.orphans:
            await abandon(*self.orphans.pop())

    def validate(self, data: bytes) -> None:
        """Validate a component without the code of its core modules, which ``compile_component`` validates.

        Raises MalformedComponent with a message that says what is wrong, Unsupported, or CompilationFailed beyond the
        engine's limits.
        """
        if self.compile_limits is None:
            from wasi_trio.runtime._compiling import validate_component

            validate_component(self.compiler, data)
        elif not self._verdicts.has(self._verdicts.name(data)):
            from wasi_trio.runtime._apart import validate_apart

            validate_apart(self.compiler, data, self.compile_limits)

    def compile(self, code: bytes) -> CoreModule:
        """Compile a trusted core module. Raises MalformedComponent if it is invalid."""
        return self.compiler.compile(code)

    def compile_component(self, data: bytes, progress: Progress | None = None, *, trusted: bool = False) -> Compiled:
        """Validate and compile a component, in this process if it is ``trusted`` or the engine has no limits.

        Raises MalformedComponent, Unsupported, LinkError, or CompilationFailed beyond the engine's limits.
        """
        compiled = self._compile_component(data, progress, trusted=trusted)
        if self.profiler is None:
            # The component's bytes are not needed again, and may be large.
            compiled.plan.modules.clear()
            compiled = Compiled(compiled.plan, [step._replace(code=b"") for step in compiled.steps])
        return compiled

    def _compile_component(self, data: bytes, progress: Progress | None, *, trusted: bool) -> Compiled:
        if not trusted and self.compile_limits is not None:
            name = self._verdicts.name(data)
            known = self._verdicts.has(name)
            kept = self._kept_code.load(name) if known else None
            if kept is not None:
                if progress is not None:
                    progress(kept.size, kept.size)
                return kept
        from wasi_trio.runtime._compiling import compile_component

        if trusted or self.compile_limits is None:
            return compile_component(self.compiler, data, progress)
        if known:
            compiled = compile_component(self.compiler, data, progress, ready={})
            modules = list({id(step.module): step.module for step in compiled.steps}.values())
            with contextlib.suppress(RecursionError):  # types may be nested too deeply
                self._kept_code.add(name, describe(compiled, modules), [module.serialize() for module in modules])
            return compiled
        from wasi_trio.runtime._apart import compile_apart

        ready, linking = compile_apart(self.compiler, data, self.compile_limits, progress)
        self._verdicts.add(name)
        if linking is None or self.profiler is not None:  # the profiler needs the code of the modules
            return compile_component(self.compiler, data, ready=ready)
        codes = list(ready.values())
        self._kept_code.add(name, linking, codes)
        # Processes share mapped files, and wasmtime maps the first content of memories from them.
        kept = self._kept_code.load(name)
        return restore(linking, [self.compiler.load(code) for code in codes]) if kept is None else kept
