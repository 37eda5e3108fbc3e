"""WebAssembly components, above all HTTP components, in trio programs.

Compile, link and run a component::

    with Engine() as engine:
        linked = link_wasi(Component.load(engine, "app.wasm"), Imports({"acme:kv/store": Store}))
        async with open_instance(linked) as instance:
            await instance.call("run")

Serve one in an ASGI server, or as a part of another ASGI application::

    app = App("app.wasm", HandlerOptions(request_timeout=5))

See ``wasi_trio.asgi`` and ``wasi_trio.serve``, and ``python -m wasi_trio serve --help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.asgi import App
    from wasi_trio.component._errors import (
        CompilationFailed,
        ComponentError,
        HostError,
        LinkError,
        MalformedComponent,
        Trap,
        Unsupported,
    )
    from wasi_trio.component._imports import Imports
    from wasi_trio.component._values import Err, GuestResource, Ok, Some, Variant
    from wasi_trio.runtime._compile_limits import CompileLimits
    from wasi_trio.runtime._component import Component, LinkedComponent
    from wasi_trio.runtime._containment import ContainedError
    from wasi_trio.runtime._engine import Engine, Limits
    from wasi_trio.runtime._instance import Instance
    from wasi_trio.wasi._context import WasiContext, WasiOptions
    from wasi_trio.wasi._exit import Exit
    from wasi_trio.wasi._imports import link_wasi, wasi_imports
    from wasi_trio.wasi._instances import open_instance
    from wasi_trio.wasi._outbound import Outbound
    from wasi_trio.wasi.filesystem._preopens import Preopen
    from wasi_trio.wasi.sockets._context import NetworkOptions

__all__ = [
    "App",
    "CompilationFailed",
    "CompileLimits",
    "Component",
    "ComponentError",
    "ContainedError",
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
    "open_instance",
    "wasi_imports",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "App": "wasi_trio.asgi",
            "CompilationFailed": "wasi_trio.component._errors",
            "CompileLimits": "wasi_trio.runtime._compile_limits",
            "Component": "wasi_trio.runtime._component",
            "ComponentError": "wasi_trio.component._errors",
            "ContainedError": "wasi_trio.runtime._containment",
            "Engine": "wasi_trio.runtime._engine",
            "Err": "wasi_trio.component._values",
            "Exit": "wasi_trio.wasi._exit",
            "GuestResource": "wasi_trio.component._values",
            "HostError": "wasi_trio.component._errors",
            "Imports": "wasi_trio.component._imports",
            "Instance": "wasi_trio.runtime._instance",
            "Limits": "wasi_trio.runtime._engine",
            "LinkError": "wasi_trio.component._errors",
            "LinkedComponent": "wasi_trio.runtime._component",
            "MalformedComponent": "wasi_trio.component._errors",
            "NetworkOptions": "wasi_trio.wasi.sockets._context",
            "Ok": "wasi_trio.component._values",
            "Outbound": "wasi_trio.wasi._outbound",
            "Preopen": "wasi_trio.wasi.filesystem._preopens",
            "Some": "wasi_trio.component._values",
            "Trap": "wasi_trio.component._errors",
            "Unsupported": "wasi_trio.component._errors",
            "Variant": "wasi_trio.component._values",
            "WasiContext": "wasi_trio.wasi._context",
            "WasiOptions": "wasi_trio.wasi._context",
            "link_wasi": "wasi_trio.wasi._imports",
            "open_instance": "wasi_trio.wasi._instances",
            "wasi_imports": "wasi_trio.wasi._imports",
        },
    )
