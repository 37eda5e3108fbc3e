"""All of WASI that this host provides, as imports for the linker."""

from __future__ import annotations

from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.wasi import p2, p3
from wasi_trio.wasi.wit import host_wit


def wasi_imports() -> Imports:
    """Every interface of WASI 0.2 and 0.3; their objects are made with an instance's ``WasiContext``."""
    imports = Imports()
    for version, interfaces in ((p2.VERSION, p2.INTERFACES), (p3.VERSION, p3.INTERFACES)):
        for name, place in interfaces.places.items():
            imports.add(f"{name}@{version}", place)
    return imports


def link_wasi(component: Component, imports: Imports | None = None) -> LinkedComponent:
    """Link a component with WASI and with what else a host provides, which goes before WASI's.

    Raises LinkError, also where the component declares a function of WASI with another type than it has.
    """
    provided = wasi_imports()
    if imports is not None:
        provided.update(imports)
    return component.link(provided, host_wit())
