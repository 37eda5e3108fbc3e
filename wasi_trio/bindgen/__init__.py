"""Typed bindings for Python: protocols for the imports of a component, and clients for its exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.bindgen._generate import generate
    from wasi_trio.bindgen._members import BindgenError

__all__ = ["BindgenError", "generate"]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {"BindgenError": "wasi_trio.bindgen._members", "generate": "wasi_trio.bindgen._generate"},
    )
