"""All of WASI that this host provides, as imports for the linker."""

from __future__ import annotations

from wasi_trio.component.imports import Imports
from wasi_trio.wasi.p2 import INTERFACES

#: the release of WASI 0.2 whose interfaces are implemented
P2_VERSION = "0.2.9"


def wasi_imports() -> Imports:
    """Every interface of WASI; their objects are made with an instance's ``WasiContext``."""
    imports = Imports()
    for name, implementation in INTERFACES.items():
        imports.add(f"{name}@{P2_VERSION}", implementation)
    return imports
