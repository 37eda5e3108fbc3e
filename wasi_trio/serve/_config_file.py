"""The TOML configuration file of a server. The table ``[wasi_trio]`` holds the settings of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from wasi_trio._files import MAX_TEXT, parse_toml, read_file
from wasi_trio.serve.settings._setting import TABLE, SettingError
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.serve.settings._sources import from_environment, from_table


class ConfigFile(NamedTuple):
    """The content of a configuration file: the table ``[wasi_trio]``, if any, and hypercorn's settings."""

    path: str
    table: object
    server: dict[str, Any]


def read_config_file(path: str) -> ConfigFile:
    """Read a TOML file. Raise SettingError if it cannot be read or parsed."""
    try:
        content = parse_toml(read_file(path, MAX_TEXT))
    except OSError as error:
        raise SettingError(f"cannot read {path or repr(path)}: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"{path} {error}") from None
    table = content.pop(TABLE, None)
    return ConfigFile(path, table, content)


def gather(
    given: Mapping[str, Any], environment: Mapping[str, str], file: ConfigFile | None, *, standalone: bool = True
) -> Settings:
    """Combine the settings of all sources. Raise SettingError for an invalid one.

    ``given`` overrides the environment, which overrides the file. ``standalone`` is true for ``wasi_trio serve``.
    """
    values: dict[str, Any] = {}
    if file is not None and file.table is not None:
        values.update(from_table(file.table, file.path, standalone=standalone))
    values.update(from_environment(environment, standalone=standalone))
    values.update(given)
    return Settings(values)
