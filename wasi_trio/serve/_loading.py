"""Loading of HTTP components from files."""

from __future__ import annotations

from importlib import resources

from wasi_trio.component._errors import LinkError
from wasi_trio.component._imports import Imports
from wasi_trio.component._names import parse_import_name
from wasi_trio.runtime._compiler import assemble
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.serve.pool._guest import guest_calls
from wasi_trio.wasi._loading import LoadError, compile_component, link_compiled, load_error, read_component

__all__ = ["LoadError", "link", "link_http", "load"]


def load(engine: Engine, path: str | None, imports: Imports | None = None) -> LinkedComponent:
    """Read, compile and link the component in a file, or the built-in one for None. Raise LoadError.

    ``imports`` supplement WASI.
    """
    if path is None:
        text = resources.files("wasi_trio.serve").joinpath("demo.wat").read_text("utf-8")
        name = "the built-in component"
        return link_http(compile_component(engine, assemble(text.encode()), name, trusted=True), name)
    return link(engine, read_component(path, engine.compile_limits), path, imports)


def link(engine: Engine, data: bytes, name: str, imports: Imports | None = None) -> LinkedComponent:
    """Compile and link an HTTP component. ``name`` identifies it in the message of a LoadError."""
    return link_http(compile_component(engine, data, name), name, imports)


def link_http(component: Component, name: str, imports: Imports | None = None) -> LinkedComponent:
    """Link a compiled HTTP component. ``name`` identifies it in the message of a LoadError."""
    try:
        linked = link_compiled(component, name, imports)
        guest_calls(linked)
        return linked
    except LoadError as error:
        if any(parse_import_name(missing.split()[0])[0] == "wasi:http/handler" for missing in error.missing):
            raise LoadError(f"{error}; name the component that answers wasi:http/handler after {name}") from None
        raise
    except LinkError as error:
        raise load_error(name, error) from None
