"""WebAssembly components, HTTP ones above all, inside trio programs.

Compile, link and run a component::

    with Engine() as engine:
        linked = link_wasi(Component.load(engine, "app.wasm"), Imports({"acme:kv/store": Store}))
        instance = await Instance.instantiate(linked, WasiContext())

Serve one: see ``wasi_trio.serve`` and ``python -m wasi_trio serve --help``.
"""

from __future__ import annotations

from wasi_trio.component.errors import (
    ComponentError,
    HostError,
    LinkError,
    MalformedComponent,
    Trap,
    Unsupported,
)
from wasi_trio.component.imports import Imports
from wasi_trio.component.values import Err, GuestResource, Ok, Some, Variant
from wasi_trio.runtime.component import Component, LinkedComponent
from wasi_trio.runtime.engine import Engine, Limits
from wasi_trio.runtime.instance import Instance
from wasi_trio.wasi.context import WasiContext, WasiOptions
from wasi_trio.wasi.exit import Exit
from wasi_trio.wasi.imports import link_wasi, wasi_imports

__all__ = [
    "Component",
    "ComponentError",
    "Engine",
    "Err",
    "Exit",
    "GuestResource",
    "HostError",
    "Imports",
    "Instance",
    "Limits",
    "LinkError",
    "LinkedComponent",
    "MalformedComponent",
    "Ok",
    "Some",
    "Trap",
    "Unsupported",
    "Variant",
    "WasiContext",
    "WasiOptions",
    "link_wasi",
    "wasi_imports",
]
