"""wasi:config 0.2.0-rc.1: ``store``."""

from __future__ import annotations

from wasi_trio.component._values import Ok
from wasi_trio.wasi._context import WasiContext


class ConfigStore:
    """The interface wasi:config/store, based on the variables of the options. Its functions do not fail."""

    def __init__(self, context: WasiContext) -> None:
        self._variables = context.options.state.config or {}

    def get(self, key: str) -> Ok[str | None]:
        return Ok(self._variables.get(key))

    def get_all(self) -> Ok[list[tuple[str, str]]]:
        return Ok(list(self._variables.items()))
