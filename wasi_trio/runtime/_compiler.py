"""wasmtime's configuration and compiler, and the way from a component's bytes to compiled modules.

Neither needs an event loop or any of the state in which guests run: the process that compiles what is not trusted
(``_compiler_process.py``) has this and nothing else.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import wasmtime

from wasi_trio.component import _definitions as d
from wasi_trio.component import _features as features
from wasi_trio.component._binary import decode
from wasi_trio.component._errors import MalformedComponent, Unsupported
from wasi_trio.component._merge import groups, merge, places
from wasi_trio.component._plan import Plan, plan
from wasi_trio.component._relink import Wiring, relink
from wasi_trio.component._skeleton import skeleton
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._code_cache import cache_configuration

#: bytes of machine stack for a guest call and the host functions it calls. At wasmtime's default of 2 MiB a
#: host callback that recurses through C code can overrun it before Python's own RecursionError comes.
FIBER_STACK = 8 << 20

#: features of the modules that wasmtime itself makes to join components
_JOINING = frozenset({"multi-memory"})

#: is told how many bytes of core modules are compiled, and of how many
Progress = Callable[[int, int], None]


class Compiler:
    """wasmtime's, set up to make code for our engines.

    ``cache`` keeps compiled code on disk, where wasmtime keeps it. ``admitted`` names the features that are on beside
    those that all guests may use: see ``wasi_trio.component._features``. Raises ValueError for an unknown one.
    ``reservation`` is the address space set aside for each memory, which the code depends on; by default what the
    process has room for. ``profiler`` is what wasmtime tells of its code: ``perfmap`` or ``jitdump``.
    """

    def __init__(
        self, cache: bool, admitted: Collection[str], reservation: int | None = None, profiler: str | None = None
    ) -> None:
        self.cache = cache
        self.reservation = address_space.reservation() if reservation is None else reservation
        self.features = features.closure(admitted)
        configuration = _configuration(cache, self.features, self.reservation)
        if profiler is not None:
            configuration.profiler = profiler
        self.wasmtime = wasmtime.Engine(configuration)

    @cached_property
    def _validator(self) -> wasmtime.Engine:
        """wasmtime with what its own way of joining components needs: it aborts where several memories are off.

        Core modules are checked by ``compile``, so they gain nothing by this.
        """
        return wasmtime.Engine(_configuration(self.cache, self.features | _JOINING, self.reservation))

    def validate(self, data: bytes) -> None:
        """Have wasmtime check that ``data`` is a valid component, but for the code in its core modules.

        Raises MalformedComponent, which says what is wrong. ``compile`` checks the modules.
        """
        from wasmtime.component import Component  # its module is large, and what was validated before has no need of it

        try:
            Component(self._validator, skeleton(data)).close()
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(_one_line(str(error))) from None

    def compile(self, code: bytes) -> wasmtime.Module:
        """Compile a core module; raises MalformedComponent if it is invalid."""
        try:
            return wasmtime.Module(self.wasmtime, code)
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None

    def check(self, code: bytes | memoryview) -> None:
        """Raise MalformedComponent if a core module is invalid."""
        try:
            wasmtime.Module.validate(self.wasmtime, bytes(code))
        except wasmtime.WasmtimeError as error:
            raise MalformedComponent(f"in a core module: {_one_line(str(error))}") from None

    def load(self, serialized: bytes) -> wasmtime.Module:
        """A module that was compiled by a compiler with these features, and serialized. It is trusted."""
        return wasmtime.Module.deserialize(self.wasmtime, serialized)

    def missing_features(self, data: bytes, codes: Sequence[bytes]) -> list[str]:
        """Which features would have to be admitted for a component that was found invalid; none if it is so with all.

        ``codes`` are its core modules, which are only validated for this.
        """

        from wasmtime.component import Component

        def valid_modules(names: frozenset[str]) -> bool:
            engine = _engine(self.features | names)
            return engine is not None and all(_is_valid(engine, code) for code in codes)

        def valid_component(names: frozenset[str]) -> bool:
            engine = _engine(self.features | names | _JOINING)
            if engine is None:
                return False
            try:
                Component(engine, skeleton(data)).close()
            except wasmtime.WasmtimeError:
                return False
            return True

        found = _smallest([f.name for f in features.CORE if f.name not in self.features], valid_modules)
        return found or _smallest([f.name for f in features.MODEL if f.name not in self.features], valid_component)


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step of a plan: its module, how that is linked, and how many bytes of WebAssembly it was.

    ``code`` is those bytes, where they are still there.
    """

    module: wasmtime.Module
    wiring: Wiring
    size: int
    code: bytes = b""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A component's plan, and its steps with their core modules. ``modules`` has those by the digest of their code,
    what no step instantiates among them, unless the component was compiled before."""

    plan: Plan
    steps: list[CompiledStep]
    modules: dict[bytes, wasmtime.Module] = field(default_factory=dict)
    #: bytes of all those modules before they were compiled
    size: int = 0


def compile_component(
    compiler: Compiler, data: bytes, progress: Progress | None = None, ready: Mapping[bytes, bytes] | None = None
) -> Compiled:
    """Check a component and compile its core modules; raises MalformedComponent, Unsupported or LinkError.

    ``ready`` is what is known of one that was compiled before, without a fault: it is not validated again, and modules
    that are in there (serialized, by the ``digest`` of their code) are not compiled again.
    """
    definitions = decode(data)  # before wasmtime, for its messages about what is no component at all
    with _naming_features(compiler, data, definitions):
        if ready is None:
            compiler.validate(data)
        made = plan(definitions)
        used = set(map(id, made.modules))
        made = _merged(compiler, definitions, made, valid=ready is not None)
        relinked = relink(made)
        # A module that nothing instantiates must be valid too, and to be compiled checks it.
        unused = [bytes(code) for code in _core_modules(definitions) if id(code) not in used]
        codes = list(dict.fromkeys([*(step.code for step in relinked), *unused]))
        modules = dict(_modules(compiler, codes, progress, ready or {}))
        steps = [CompiledStep(modules[step.code], step.wiring, len(step.code), step.code) for step in relinked]
        return Compiled(made, steps, {digest(code): module for code, module in modules.items()}, sum(map(len, codes)))


def _merged(compiler: Compiler, definitions: d.Component, made: Plan, *, valid: bool) -> Plan:
    """Merge a plan's core modules. Each of them is checked first, unless they are known to be ``valid``."""
    found = groups(made)
    if not found:
        return made
    if not valid:
        for group in found:
            for step in group:
                compiler.check(made.modules[step.module])
    merging = plan(definitions, places(found))
    return merging if merge(merging, found) else made


def validate_component(compiler: Compiler, data: bytes) -> None:
    """Check a component but for the code in its modules; raises MalformedComponent or Unsupported."""
    with _naming_features(compiler, data, decode(data)):
        compiler.validate(data)


@contextmanager
def _naming_features(compiler: Compiler, data: bytes, definitions: d.Component) -> Iterator[None]:
    """Where a component is found invalid in here that would be valid with more features, say which those are."""
    try:
        yield
    except MalformedComponent:
        missing = compiler.missing_features(data, [bytes(code) for code in _core_modules(definitions)])
        if not missing:
            raise
        raise Unsupported(features.refusal(missing)) from None


def assemble(text: bytes) -> bytes:
    """The binary of WebAssembly text; raises MalformedComponent with all that is wrong, in several lines."""
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise MalformedComponent(str(error).strip()) from None


def digest(code: bytes) -> bytes:
    """The name of a core module among those that are ready."""
    return hashlib.sha256(code).digest()


def _modules(
    compiler: Compiler, codes: Iterable[bytes], progress: Progress | None, ready: Mapping[bytes, bytes]
) -> Iterator[tuple[bytes, wasmtime.Module]]:
    codes = list(codes)
    total = sum(map(len, codes))
    done = 0
    for code in codes:
        if progress is not None:
            progress(done, total)
        serialized = ready.get(digest(code)) if ready else None
        yield code, compiler.compile(code) if serialized is None else compiler.load(serialized)
        done += len(code)
    if progress is not None:
        progress(done, total)


def _core_modules(component: d.Component) -> Iterator[memoryview]:
    """The code of every core module in a component and those nested in it."""
    for definition in component.definitions:
        if isinstance(definition, d.CoreModule):
            yield definition.code
        elif isinstance(definition, d.Component):
            yield from _core_modules(definition)


# ---- wasmtime's configuration ----------------------------------------------------------------------------


def _configuration(cache: bool, admitted: frozenset[str], reservation: int) -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.memory_may_move = False
    config.memory_reservation = reservation
    if reservation != address_space.WHOLE:
        config.memory_guard_size = address_space.SMALL_GUARD
    # Memories that threads share are of no use to guests that run on one.
    config.shared_memory = False
    if cache:
        configuration = cache_configuration()
        config.cache = True if configuration is None else str(configuration)
    pointer = ctypes.cast(config.ptr(), ctypes.c_void_p)
    ffi.async_stack_size_set(pointer, FIBER_STACK)
    for feature in (*features.CORE, *features.MODEL):
        ffi.config_features[feature.name](pointer, feature.name in admitted)
    return config


def _engine(admitted: Collection[str]) -> wasmtime.Engine | None:
    """An engine to try features with; None where wasmtime does not have them together."""
    try:
        return wasmtime.Engine(_configuration(False, frozenset(admitted), address_space.reservation()))
    except wasmtime.WasmtimeError:
        return None


def _is_valid(engine: wasmtime.Engine, code: bytes) -> bool:
    try:
        wasmtime.Module.validate(engine, code)
    except wasmtime.WasmtimeError:
        return False
    return True


def _smallest(names: Sequence[str], enough: Callable[[frozenset[str]], bool]) -> list[str]:
    """As few of the features as are enough; none where they are not enough, or none is needed."""
    needed = frozenset(names)
    if enough(frozenset()) or not enough(needed):
        return []
    for name in names:
        if enough(needed - {name}):
            needed -= {name}
    implied = {other for name in needed for other in features.closure([name]) if other != name}
    return [name for name in names if name in needed - implied]


def _one_line(message: str) -> str:
    """wasmtime's message and its causes as one line."""
    lines = [line.strip() for line in message.splitlines()]
    return ": ".join(line.removeprefix("0: ") for line in lines if line and line != "Caused by:")
