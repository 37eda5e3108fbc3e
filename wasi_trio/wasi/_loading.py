"""From a file to a component that is linked with WASI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import wasmtime

from wasi_trio._texts import MOST, get_logger, shown
from wasi_trio.component._errors import CompilationFailed, ComponentError, LinkError, MalformedComponent
from wasi_trio.component._features import USUAL
from wasi_trio.component._imports import Imports
from wasi_trio.runtime import _address_space as address_space
from wasi_trio.runtime._compile_limits import CompileLimits
from wasi_trio.runtime._compiler import assemble
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._profile_options import Profiling
from wasi_trio.wasi import proposals
from wasi_trio.wasi._core_modules import PREAMBLE, remedy
from wasi_trio.wasi._imports import link_wasi
from wasi_trio.wasi.registry._errors import RegistryError
from wasi_trio.wasi.registry._references import is_pinned, is_reference, parse_reference, pinned

logger = get_logger("wasi_trio")

#: where wasmtime says that there is something wrong with a text
_PLACE = re.compile(r"--> <anon>:(\d+):(\d+)")


class LoadError(Exception):
    """There is no such component, or it is none that can be used; the message is one line.

    ``missing`` names the imports that nothing provides.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The features that components may use, by default those of every WASI there is, and what compiling may take.

    ``profile`` says how guests are profiled.
    """

    features: frozenset[str] = USUAL
    compile_limits: CompileLimits = field(default_factory=CompileLimits)
    profile: Profiling | None = None

    def open(self) -> Engine:
        """An engine that keeps compiled code on disk, unless there is no place for it (a read-only home, say)."""
        try:
            return self.caching()
        except wasmtime.WasmtimeError as error:
            logger.info("compiled code is not kept: %s", error)
            return self._make(cache=False)

    def caching(self) -> Engine:
        """An engine that keeps compiled code on disk; raises WasmtimeError where there is no place for it."""
        return self._make(cache=True)

    def _make(self, cache: bool) -> Engine:
        return Engine(cache=cache, features=self.features, compile_limits=self.compile_limits, profile=self.profile)


#: for components that strangers may have made
DEFAULT = EngineOptions()


def open_engine() -> Engine:
    """An engine with the options that there are by default."""
    return DEFAULT.open()


def check_address_space() -> None:
    """Say what a limit of the process's address space means for guests; raises LoadError where there is too little."""
    try:
        meaning = address_space.check()
    except address_space.AddressSpaceError as error:
        raise LoadError(str(error)) from None
    if meaning is not None:
        logger.warning("%s", meaning)


class Content(NamedTuple):
    """What is in a file, or what a reference to a registry stands for.

    ``pin`` is the reference with its digest, where it came without one and so may stand for something else tomorrow.
    """

    data: bytes
    pin: str | None = None

    def tell(self, path: str) -> None:
        """Tell what was read, where it may be something else the next time."""
        if self.pin is not None:
            logger.warning("%s has no digest: it stands for %s", path, self.pin)


def read_content(path: str) -> Content:
    """What is in a component's file, or what a reference to it stands for; raises LoadError."""
    if is_reference(path):
        # Here, because components are files mostly.
        from wasi_trio.wasi.registry._fetching import fetch

        try:
            data, digest = fetch(parse_reference(path))
        except RegistryError as error:
            raise LoadError(shown(str(error), 8 * MOST)) from None
        return Content(data, None if is_pinned(path) else pinned(path, digest))
    try:
        return Content(Path(path).read_bytes())
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}") from None


def read_component(path: str, limits: CompileLimits | None = DEFAULT.compile_limits) -> bytes:
    """A component's content, WebAssembly text assembled within limits, if there are any; raises LoadError."""
    content = read_content(path)
    content.tell(path)
    return assembled(content.data, path, limits)


def assembled(data: bytes, name: str, limits: CompileLimits | None = DEFAULT.compile_limits) -> bytes:
    """The binary of what is WebAssembly text, which begins with ``(`` or a comment; anything else as it is.

    Raises LoadError, which calls it ``name`` and has all that is wrong in its notes.
    """
    if not data.lstrip().startswith((b"(", b";;")):
        return data
    # Here, because few components are text, and a process to read one in takes a good deal of Python.
    from wasi_trio.runtime._apart import assemble_apart

    try:
        return assemble(data) if limits is None else assemble_apart(data, limits)
    except CompilationFailed as error:
        raise refused(name, error) from None
    except MalformedComponent as error:
        message = str(error)
        place = _PLACE.search(message)
        where = f", line {place[1]}, column {place[2]}" if place else ""
        malformed = LoadError(f"{name} is not well-formed text: {message.splitlines()[0]}{where}")
        malformed.add_note(message)
        raise malformed from None


def check_is_component(data: bytes, name: str) -> None:
    """Raise LoadError for what is plainly something else."""
    if data.startswith(PREAMBLE):
        raise LoadError(f"{name} is a core WebAssembly module; a component is needed: {remedy(data)}")
    if not data.startswith(b"\0asm"):
        raise LoadError(f"{name} is not a WebAssembly component{'' if data else ': it is empty'}")


def link_component(engine: Engine, data: bytes, name: str, imports: Imports | None = None) -> LinkedComponent:
    """A component compiled and linked, with ``imports`` beside WASI; raises LoadError, which calls it ``name``."""
    return link_compiled(compile_component(engine, data, name), name, imports)


def compile_component(engine: Engine, data: bytes, name: str, *, trusted: bool = False) -> Component:
    """A component compiled; raises LoadError, which calls it ``name``."""
    check_is_component(data, name)
    try:
        return Component.compile(engine, data, trusted=trusted)
    except ComponentError as error:
        raise refused(name, error) from None


def link_compiled(component: Component, name: str, imports: Imports | None = None) -> LinkedComponent:
    """A component linked with WASI and ``imports``; raises LoadError, which calls it ``name``."""
    try:
        linked = link_wasi(component, imports)
    except ComponentError as error:
        raise refused(name, error) from None
    linked.name = name
    return linked


def refused(name: str, error: ComponentError) -> LoadError:
    """The LoadError for what is wrong with the component ``name``."""
    missing = error.missing if isinstance(error, LinkError) else ()
    line = "; ".join((" ".join(str(error).split()), *_options_for(missing)))
    return LoadError(shown(f"{name}: {line}", 8 * MOST), missing)


def _options_for(missing: Iterable[str]) -> Iterator[str]:
    """Which options give what is missing."""
    interfaces = {line.split()[0] for line in missing}
    for given, option in ((proposals.CONFIG, "--config-var NAME=VALUE"), (proposals.KEYVALUE, "--keyvalue NAME=URL")):
        if not interfaces.isdisjoint(given):
            yield f"{next(iter(given)).partition('/')[0]} is given with {option}"
