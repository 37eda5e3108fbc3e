"""Loads a component from a file or a registry and links it with WASI."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from wasi_trio._files import read_file
from wasi_trio._texts import MAX_LENGTH, get_logger, shown
from wasi_trio.component._errors import CompilationFailed, ComponentError, LinkError, MalformedComponent
from wasi_trio.component._features import USUAL
from wasi_trio.component._imports import Imports
from wasi_trio.lazy import Pattern
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._compiler import assemble
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._profile_options import Profiling
from wasi_trio.runtime._wasmtime import WasmtimeError
from wasi_trio.wasi._core_modules import PREAMBLE, remedy
from wasi_trio.wasi._imports import link_wasi
from wasi_trio.wasi._unmet import advice
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._references import is_pinned, is_reference, parse_reference, pin

logger = get_logger("wasi_trio")

#: the location of an error in wasmtime's messages about text
_ERROR_LOCATION = Pattern(r"--> <anon>:(\d+):(\d+)")


class LoadError(Exception):
    """The component does not exist or is not usable. The message is one line.

    ``missing`` names the imports that have no provider.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Features and compilation limits. The default features are those that every version of WASI needs.

    ``profile`` selects a profiler for guests.
    """

    features: frozenset[str] = USUAL
    compile_limits: CompileLimits = field(default_factory=CompileLimits)
    profile: Profiling | None = None

    def open(self) -> Engine:
        """Return an engine that caches compiled code on disk, or one without a cache if the disk is not writable."""
        try:
            return self.open_cached()
        except WasmtimeError as error:
            logger.info("Compiled code is not cached: %s", error)
            return self._make(cache=False)

    def open_cached(self) -> Engine:
        """Return an engine that caches compiled code on disk. Raises WasmtimeError if the cache is unusable."""
        return self._make(cache=True)

    def _make(self, cache: bool) -> Engine:
        return Engine(cache=cache, features=self.features, compile_limits=self.compile_limits, profile=self.profile)


#: limits for untrusted components
DEFAULT = EngineOptions()


def open_engine() -> Engine:
    """Return an engine with the default options."""
    return DEFAULT.open()


def check_address_space() -> None:
    """Warn if a limit of the address space restricts guests. Raises LoadError if it leaves too little."""
    try:
        meaning = address_space.check()
    except address_space.AddressSpaceError as error:
        raise LoadError(str(error)) from None
    if meaning is not None:
        logger.warning("%s", meaning)


class Content(NamedTuple):
    """The content of a file or of a registry reference.

    ``pin`` is the reference with its digest. It is set only if the reference had none and so may change its content.
    """

    data: bytes
    pin: str | None = None

    def warn_if_unpinned(self, path: str) -> None:
        """Log the digest of a reference that may change its content."""
        if self.pin is not None:
            logger.warning("%s has no digest; it resolved to %s", path, self.pin)


def read_content(path: str) -> Content:
    """Return the content of a component file or of a registry reference. Raises LoadError."""
    if is_reference(path):
        # Imported late, because most components are files.
        from wasi_trio.wasi.registry._fetching import fetch

        try:
            data, digest = fetch(parse_reference(path))
        except RegistryError as error:
            raise LoadError(shown(str(error), 8 * MAX_LENGTH)) from None
        return Content(data, None if is_pinned(path) else pin(path, digest))
    try:
        return Content(read_file(path))
    except OSError as error:
        raise LoadError(f"cannot read {path or repr(path)}: {error.strerror}") from None


def read_component(path: str, limits: CompileLimits | None = DEFAULT.compile_limits) -> bytes:
    """Return a component in binary form, and assemble text within the limits, if any. Raises LoadError."""
    content = read_content(path)
    content.warn_if_unpinned(path)
    return assembled(content.data, path, limits)


def assembled(data: bytes, name: str, limits: CompileLimits | None = DEFAULT.compile_limits) -> bytes:
    """Return WebAssembly text, which begins with ``(`` or a comment, in binary form, and other data unchanged.

    Raises LoadError with ``name`` in its message and the complete report in its notes.
    """
    if not data.lstrip().startswith((b"(", b";;")):
        return data
    # Imported late, because few components are text, and assembly in another process imports much Python.
    from wasi_trio.runtime._apart import assemble_apart

    try:
        return assemble(data) if limits is None else assemble_apart(data, limits)
    except CompilationFailed as error:
        raise load_error(name, error) from None
    except MalformedComponent as error:
        message = str(error)
        place = _ERROR_LOCATION.search(message)
        where = f", line {place[1]}, column {place[2]}" if place else ""
        malformed = LoadError(f"{name} is not well-formed text: {message.splitlines()[0]}{where}")
        malformed.add_note(message)
        raise malformed from None


def check_is_component(data: bytes, name: str) -> None:
    """Raise LoadError if the data is evidently not a component."""
    if data.startswith(PREAMBLE):
        raise LoadError(f"{name} is a core WebAssembly module; wasi_trio requires a component: {remedy(data)}")
    if not data.startswith(b"\0asm"):
        raise LoadError(f"{name} is not a WebAssembly component{'' if data else ': it is empty'}")


def link_component(engine: Engine, data: bytes, name: str, imports: Imports | None = None) -> LinkedComponent:
    """Compile a component, and link it with WASI and ``imports``. Raises LoadError with ``name`` in its message."""
    return link_compiled(compile_component(engine, data, name), name, imports)


def compile_component(engine: Engine, data: bytes, name: str, *, trusted: bool = False) -> Component:
    """Compile a component. Raises LoadError with ``name`` in its message."""
    check_is_component(data, name)
    try:
        return Component.compile(engine, data, trusted=trusted)
    except ComponentError as error:
        raise load_error(name, error) from None


def link_compiled(component: Component, name: str, imports: Imports | None = None) -> LinkedComponent:
    """Link a component with WASI and ``imports``. Raises LoadError with ``name`` in its message."""
    try:
        linked = link_wasi(component, imports)
    except ComponentError as error:
        raise load_error(name, error) from None
    linked.name = name
    return linked


def load_error(name: str, error: ComponentError) -> LoadError:
    """Return a LoadError for an error in the component ``name``."""
    missing = error.missing if isinstance(error, LinkError) else ()
    line = "; ".join((" ".join(str(error).split()), *advice(missing)))
    return LoadError(shown(f"{name}: {line}", 8 * MAX_LENGTH), missing)
