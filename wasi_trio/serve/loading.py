"""From a file to a component that requests can be given to."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

import wasmtime

from wasi_trio.component.errors import ComponentError
from wasi_trio.component.imports import Imports
from wasi_trio.runtime.component import Component, LinkedComponent
from wasi_trio.runtime.engine import Engine
from wasi_trio.serve.guest import guest_calls
from wasi_trio.wasi.imports import link_wasi

logger = logging.getLogger("wasi_trio.serve")

#: how a core module begins where a component has another version (Binary.md of the component model)
_CORE_MODULE = b"\0asm\x01\0\0\0"


class LoadError(Exception):
    """There is no such component, or it is none that can be served; the message is one line."""


def open_engine() -> Engine:
    """An engine that keeps compiled code on disk, unless there is no place for it (a read-only home, say)."""
    try:
        return Engine()
    except wasmtime.WasmtimeError as error:
        logger.info("compiled code is not kept: %s", error)
        return Engine(cache=False)


def load(engine: Engine, path: str | None, imports: Imports | None = None) -> LinkedComponent:
    """The component in a file, or the built-in one, compiled and linked; raises LoadError.

    ``imports`` are provided beside WASI.
    """
    if path is None:
        text = resources.files("wasi_trio.serve").joinpath("demo.wat").read_text("utf-8")
        return link(engine, bytes(wasmtime.wat2wasm(text)), "the built-in component")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}") from None
    return link(engine, data, path, imports)


def link(engine: Engine, data: bytes, name: str, imports: Imports | None = None) -> LinkedComponent:
    """An HTTP component compiled and linked; raises LoadError, which calls it ``name``."""
    if data.startswith(_CORE_MODULE):
        raise LoadError(f"{name} is a core WebAssembly module; a component is needed")
    if not data.startswith(b"\0asm"):
        raise LoadError(f"{name} is not a WebAssembly component{_guess(data)}")
    try:
        linked = link_wasi(Component.compile(engine, data), imports)
        guest_calls(linked)
        return linked
    except ComponentError as error:
        reason = " ".join(str(error).split())
        raise LoadError(f"{name}: {reason}") from None


def _guess(data: bytes) -> str:
    if not data:
        return ": it is empty"
    if data.lstrip().startswith((b"(", b";;")):
        return ": it looks like the text format, which has to be assembled first"
    return ""
