"""The declaration of a setting, and the error for an invalid one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: The prefix of all environment variables.
PREFIX = "WASI_TRIO_"
#: The name of the table in TOML.
TABLE = "wasi_trio"
#: The environment variable that names the configuration file.
CONFIGURATION = f"{PREFIX}CONFIG"


class SettingError(Exception):
    """An invalid setting. The message is one line that names the setting's source."""


def _lines(text: str) -> list[str]:
    return text.split("\n")


class Setting(NamedTuple):
    """The declaration of one setting.

    ``parse`` converts text into a value and raises ValueError. ``default`` is a text for ``parse``; the help shows
    ``default_text`` in its place. ``field`` names the target in HandlerOptions: one of its fields, or a field of its
    ``limits``, ``wasi``, ``wasi.network`` or ``wasi.http.keep_alive``. A setting without ``field`` belongs to the
    server.

    A ``switch`` is on or off. A ``repeatable`` setting is a list in TOML, or for a ``table`` a table of NAME = "VALUE".
    In the environment, ``split`` divides its text. ``option`` is the name on the command line if it differs from
    ``name``. A ``serve_only`` setting applies to ``wasi_trio serve``, and not to other ASGI servers.
    """

    name: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = ""
    default: str | None = None
    field: str | None = None
    default_text: str | None = None
    option: str | None = None
    short: str | None = None
    switch: bool = False
    repeatable: bool = False
    table: bool = False
    split: Callable[[str], list[str]] = _lines
    serve_only: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of the setting."""
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def for_routes(self) -> bool:
        """Whether a route may override the server's value."""
        return self.name in ("dirs", "headers") or (self.field is not None and self.field != "total_memory")
