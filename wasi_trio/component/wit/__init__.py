"""WIT interfaces (WIT.md of the Component Model), and the WIT text of components.

``load`` reads files, and ``parse`` a text. Both return a ``Wit``. Its interfaces contain function types under the names
that components' binaries use. ``mismatch`` compares a function type with a component's declaration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.component._signatures import mismatch, render, render_definition, render_func
    from wasi_trio.component.wit._interfaces import Interface, Package, Wit, World
    from wasi_trio.component.wit._lexer import WitError
    from wasi_trio.component.wit._resolution import load, parse

__all__ = [
    "Interface",
    "Package",
    "Wit",
    "WitError",
    "World",
    "load",
    "mismatch",
    "parse",
    "render",
    "render_definition",
    "render_func",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Interface": "wasi_trio.component.wit._interfaces",
            "Package": "wasi_trio.component.wit._interfaces",
            "Wit": "wasi_trio.component.wit._interfaces",
            "WitError": "wasi_trio.component.wit._lexer",
            "World": "wasi_trio.component.wit._interfaces",
            "load": "wasi_trio.component.wit._resolution",
            "mismatch": "wasi_trio.component._signatures",
            "parse": "wasi_trio.component.wit._resolution",
            "render": "wasi_trio.component._signatures",
            "render_definition": "wasi_trio.component._signatures",
            "render_func": "wasi_trio.component._signatures",
        },
    )
