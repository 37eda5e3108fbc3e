"""The engine: wasmtime's configuration and compiler, its epochs, and what runs at this moment."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import wasmtime

from wasi_trio.component._account import Budget
from wasi_trio.component._context import LIFT_FUEL
from wasi_trio.component._features import BY_NAME
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._compiler import Compiled, Compiler, Progress, compile_component, validate_component
from wasi_trio.runtime._coroutines import abandon
from wasi_trio.runtime._host_calls import Interrupter
from wasi_trio.runtime._kept_code import KeptCode
from wasi_trio.runtime._profile_options import GuestProfile, NativeProfile, Profiling
from wasi_trio.runtime._running import Running
from wasi_trio.runtime._ticker import Ticker
from wasi_trio.runtime._verdicts import Verdicts

if TYPE_CHECKING:
    from wasi_trio.runtime._profile_sampling import Profiler

#: What an engine may be told to admit: features of core modules (``gc``, ``exceptions``, ``tail-call`` and others), and
#: of the component model the type ``map``, the import attribute ``implements``, the synchronous forms and cancellations
#: of stream and future operations, and async functions that have no callback. What is admitted and yet not run here is
#: refused by name when a component is compiled.
FEATURES = frozenset(BY_NAME)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one component instance may use; see ``wasmtime_store_limiter``.

    ``memory`` is in bytes and for each linear memory; ``table_elements`` is for each table. ``handles`` bounds
    its handle table, ``calls`` how many calls it has under way, ``call_data`` the bytes that it passes in one of them,
    counting what Python holds them in. A call that cannot be suspended (``realloc``, a destructor, ``post-return``)
    traps after about ``nested_seconds`` of processor time, because nothing else can run meanwhile. A component that
    computes in an asynchronous call from another component of its composition, before it first waits, traps after
    ``non_preemptible_seconds``.

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
    nested_seconds: float = 0.03
    non_preemptible_seconds: float = 1.0
    instance_memory: int = 1 << 30


class Engine(Running):
    """Compiles components and runs their instances; to be used from one thread.

    ``cache`` keeps compiled code on disk between runs of the program, where wasmtime keeps it. ``features`` names what
    of WebAssembly and of the component model components may use that is off else: see ``FEATURES``.
    With ``compile_limits`` each component that is not known from before is checked and compiled in a process of its
    own, within these limits; a program that trusts its components does without. ``budget`` bounds what all instances
    hold together; engines may share one. ``profile`` has guests profiled; ``close`` writes the
    profiles of what lives then.
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

            raise RuntimeError(f"wasi_trio needs CPython, this is {platform.python_implementation()}")
        if sys.version_info[:3] == (3, 14, 0):
            # It takes a fiber's stack for an overflowing one of its own (CPython issue 139653, mended in 3.14.1).
            raise RuntimeError("CPython 3.14.0 cannot run code on fibers, 3.14.1 and later can")
        native = profile.name if isinstance(profile, NativeProfile) else None
        self.compiler = Compiler(cache, features, profiler=native)
        self.compile_limits = compile_limits
        self._verdicts = Verdicts(self.compiler.features, kept=cache)
        # What profiles guests wants their code, or is told of it where that is compiled.
        self._kept_code = KeptCode(self.compiler, kept=cache and profile is None)
        self.wasmtime = self.compiler.wasmtime
        pointer = self.pointer = ctypes.cast(self.wasmtime.ptr(), ctypes.c_void_p).value
        super().__init__(Ticker(lambda: ffi.engine_increment_epoch(pointer)))
        self.interrupter = Interrupter(self)
        self.budget = Budget() if budget is None else budget
        #: samples the guests, where that was asked for
        self.profiler: Profiler | None = None
        if isinstance(profile, GuestProfile):
            from wasi_trio.runtime._profile_sampling import Profiler

            self.profiler = Profiler(self, profile)
            self.ticker.beats, self.ticker.beat = profile.interval, self.profiler.beat
        self.epoch_callback = ffi.EpochCallback(self._at_epoch if self.profiler is None else self._at_profiled_epoch)
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

    def _at_profiled_epoch(self, context: int, data: int, delta: Any, kind: Any) -> int:
        """In place of ``_at_epoch`` where guests are sampled."""
        assert self.profiler is not None
        verdict = self._at_epoch(context, data, delta, kind)
        self.profiler.sample(self.current)
        return verdict

    def close(self) -> None:
        """Stop the ticker. Components and instances of this engine must not be used afterwards."""
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
        """Cancel the coroutines that cannot be waited for, in the task that took their first steps."""
        while self.orphans:
            await abandon(*self.orphans.pop())

    def validate(self, data: bytes) -> None:
        """Have wasmtime check that ``data`` is a valid component, but for the code in its core modules.

        Raises MalformedComponent, which says what is wrong, Unsupported, or CompilationFailed where that takes more
        than the engine's limits. ``compile_component`` checks the modules.
        """
        if self.compile_limits is None:
            validate_component(self.compiler, data)
        elif not self._verdicts.has(self._verdicts.name(data)):
            from wasi_trio.runtime._apart import validate_apart

            validate_apart(self.compiler, data, self.compile_limits)

    def compile(self, code: bytes) -> wasmtime.Module:
        """Compile a core module that is trusted; raises MalformedComponent if it is invalid."""
        return self.compiler.compile(code)

    def compile_component(self, data: bytes, progress: Progress | None = None, *, trusted: bool = False) -> Compiled:
        """Check a component and compile it, in this process if it is ``trusted`` or the engine has no limits.

        Raises MalformedComponent, Unsupported, LinkError, or CompilationFailed where that takes more than the limits.
        """
        compiled = self._compile_component(data, progress, trusted=trusted)
        if self.profiler is None:
            # Nobody looks at the component's bytes again, of which there may be many.
            compiled.plan.modules.clear()
            compiled = Compiled(compiled.plan, [replace(step, code=b"") for step in compiled.steps])
        return compiled

    def _compile_component(self, data: bytes, progress: Progress | None, *, trusted: bool) -> Compiled:
        if trusted or self.compile_limits is None:
            return compile_component(self.compiler, data, progress)
        name = self._verdicts.name(data)
        if self._verdicts.has(name):
            kept = self._kept_code.load(name)
            if kept is not None:
                if progress is not None:
                    progress(kept.size, kept.size)
                return kept
            compiled = compile_component(self.compiler, data, progress, ready={})
            self._kept_code.add(name, compiled, {})
            return compiled
        from wasi_trio.runtime._apart import compile_apart

        ready = compile_apart(self.compiler, data, self.compile_limits, progress)
        compiled = compile_component(self.compiler, data, ready=ready)
        serialized = {id(module): ready[code] for code, module in compiled.modules.items() if code in ready}
        self._kept_code.add(name, compiled, serialized)
        self._verdicts.add(name)
        return compiled


def as_pointer(thing: Any) -> int:
    """The address in one of the wheel's pointers. Keep the object it came from alive while it is used."""
    return ctypes.cast(thing, ctypes.c_void_p).value or 0
