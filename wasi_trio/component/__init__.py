"""The Component Model without I/O: values, errors, and the imports that a host provides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.component._errors import ComponentError, HostError, LinkError, MalformedComponent, Trap, Unsupported
    from wasi_trio.component._imports import Imports
    from wasi_trio.component._values import Err, GuestResource, Ok, Some, Variant

__all__ = [
    "ComponentError",
    "Err",
    "GuestResource",
    "HostError",
    "Imports",
    "LinkError",
    "MalformedComponent",
    "Ok",
    "Some",
    "Trap",
    "Unsupported",
    "Variant",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "ComponentError": "wasi_trio.component._errors",
            "Err": "wasi_trio.component._values",
            "GuestResource": "wasi_trio.component._values",
            "HostError": "wasi_trio.component._errors",
            "Imports": "wasi_trio.component._imports",
            "LinkError": "wasi_trio.component._errors",
            "MalformedComponent": "wasi_trio.component._errors",
            "Ok": "wasi_trio.component._values",
            "Some": "wasi_trio.component._values",
            "Trap": "wasi_trio.component._errors",
            "Unsupported": "wasi_trio.component._errors",
            "Variant": "wasi_trio.component._values",
        },
    )
