"""The command line. ``main`` runs it. ``cli`` is the group of commands, for tools that read their help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.cli._commands import cli, main

__all__ = ["cli", "main"]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(__name__, {"cli": "wasi_trio.cli._commands", "main": "wasi_trio.cli._commands"})
