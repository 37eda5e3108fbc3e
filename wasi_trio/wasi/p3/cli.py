"""wasi:cli 0.3: ``environment`` (``exit`` and ``terminal-*`` are in :mod:`wasi_trio.wasi.cli`)."""

from __future__ import annotations

from collections.abc import Sequence

from wasi_trio.wasi.context import WasiContext


class Types:
    """The interface wasi:cli/types, which has no functions."""

    def __init__(self, context: WasiContext) -> None:
        pass


class Environment:
    """The interface wasi:cli/environment."""

    def __init__(self, context: WasiContext) -> None:
        self._options = context.options

    def get_environment(self) -> Sequence[tuple[str, str]]:
        return self._options.env

    def get_arguments(self) -> Sequence[str]:
        return self._options.args

    def get_initial_cwd(self) -> str | None:
        return self._options.initial_cwd
