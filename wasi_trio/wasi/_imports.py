"""All WASI interfaces of this host, as imports for the linker."""

from __future__ import annotations

from collections.abc import Mapping

from wasi_trio.component._imports import Imports
from wasi_trio.lazy import Located
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.wasi import p2, p3, proposals
from wasi_trio.wasi._state import State
from wasi_trio.wasi.wit import host_wit


def wasi_imports() -> Imports:
    """Return the imports of WASI 0.2, WASI 0.3 and wasi:logging. Their objects are made from a ``WasiContext``."""
    imports = Imports()
    for version, interfaces in ((p2.VERSION, p2.INTERFACES), (p3.VERSION, p3.INTERFACES)):
        _add_all(imports, {f"{name}@{version}": place for name, place in interfaces.places.items()})
    return _add_all(imports, proposals.LOGGING.places)


#: all interfaces for state, to link before the real state is known
EVERY_STATE = State(config={}, keyvalue={})


def state_imports(state: State) -> Imports:
    """Return the imports of wasi:config and wasi:keyvalue that ``state`` enables."""
    imports = Imports()
    if state.config is not None:
        _add_all(imports, proposals.CONFIG.places)
    if state.keyvalue is not None:
        _add_all(imports, proposals.KEYVALUE.places)
    return imports


def _add_all(imports: Imports, interfaces: Mapping[str, Located]) -> Imports:
    for name, place in interfaces.items():
        imports.add(name, place)
    return imports


def link_wasi(component: Component, imports: Imports | None = None) -> LinkedComponent:
    """Link a component with WASI and with ``imports``, which take precedence.

    Raises LinkError, also if the component declares a WASI function with a different type.
    """
    provided = wasi_imports()
    if imports is not None:
        provided.update(imports)
    return component.link(provided, host_wit())
