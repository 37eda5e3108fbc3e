"""The TOML file with the settings of a server, among which ours have the table ``[wasi_trio]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wasi_trio.serve._settings import PREFIX, TABLE, SettingError, Settings, from_environment, from_table

#: the environment variable that names the file
VARIABLE = f"{PREFIX}CONFIG"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What is in a configuration file: our table, None if it has none, and the settings of the server itself."""

    path: str
    table: object
    server: dict[str, Any]


def read_config_file(path: str) -> ConfigFile:
    """Read a TOML file; raises SettingError."""
    import tomllib

    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not TOML: {' '.join(str(error).split())}") from None
    table = content.pop(TABLE, None)
    return ConfigFile(path, table, content)


def gather(
    given: Mapping[str, Any], environment: Mapping[str, str], file: ConfigFile | None, *, ours: bool = True
) -> Settings:
    """The settings out of all that tells of them, ``given`` first; raises SettingError.

    ``ours`` is whether the server is that of ``wasi_trio serve``.
    """
    values: dict[str, Any] = {}
    if file is not None and file.table is not None:
        values.update(from_table(file.table, file.path, ours=ours))
    values.update(from_environment(environment, ours=ours))
    values.update(given)
    return Settings(values)
