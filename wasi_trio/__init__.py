"""WebAssembly components, HTTP ones above all, inside trio programs.

Compile, link and run a component::

    with Engine() as engine:
        linked = link_wasi(Component.load(engine, "app.wasm"), Imports({"acme:kv/store": Store}))
        instance = await Instance.instantiate(linked, WasiContext())

Serve one in an ASGI server, or as a part of an application there::

    app = App("app.wasm", HandlerOptions(request_timeout=5))

See ``wasi_trio.asgi`` and ``wasi_trio.serve``, and ``python -m wasi_trio serve --help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.asgi import App
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
    from wasi_trio.wasi.filesystem.preopens import Preopen
    from wasi_trio.wasi.imports import link_wasi, wasi_imports
    from wasi_trio.wasi.outbound import Outbound
    from wasi_trio.wasi.sockets.context import NetworkOptions

__all__ = [
    "App",
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
    "NetworkOptions",
    "Ok",
    "Outbound",
    "Preopen",
    "Some",
    "Trap",
    "Unsupported",
    "Variant",
    "WasiContext",
    "WasiOptions",
    "link_wasi",
    "wasi_imports",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "App": "wasi_trio.asgi",
        "Component": "wasi_trio.runtime.component",
        "ComponentError": "wasi_trio.component.errors",
        "Engine": "wasi_trio.runtime.engine",
        "Err": "wasi_trio.component.values",
        "Exit": "wasi_trio.wasi.exit",
        "GuestResource": "wasi_trio.component.values",
        "HostError": "wasi_trio.component.errors",
        "Imports": "wasi_trio.component.imports",
        "Instance": "wasi_trio.runtime.instance",
        "Limits": "wasi_trio.runtime.engine",
        "LinkError": "wasi_trio.component.errors",
        "LinkedComponent": "wasi_trio.runtime.component",
        "MalformedComponent": "wasi_trio.component.errors",
        "NetworkOptions": "wasi_trio.wasi.sockets.context",
        "Ok": "wasi_trio.component.values",
        "Outbound": "wasi_trio.wasi.outbound",
        "Preopen": "wasi_trio.wasi.filesystem.preopens",
        "Some": "wasi_trio.component.values",
        "Trap": "wasi_trio.component.errors",
        "Unsupported": "wasi_trio.component.errors",
        "Variant": "wasi_trio.component.values",
        "WasiContext": "wasi_trio.wasi.context",
        "WasiOptions": "wasi_trio.wasi.context",
        "link_wasi": "wasi_trio.wasi.imports",
        "wasi_imports": "wasi_trio.wasi.imports",
    },
)
