"""hypercorn's TOML file, in which our settings have the table ``[wasi_trio]``.

hypercorn takes no notice of that table. Where it is hypercorn that serves, the file is found without its help: it does
not tell an application where its configuration came from.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from wasi_trio.serve.settings import PREFIX, TABLE, SettingError, Settings, from_environment, from_table

#: the environment variable that names the file
VARIABLE = f"{PREFIX}CONFIG"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What is in a configuration file: our table, None if it has none, and what is hypercorn's."""

    path: str
    table: object
    hypercorn: dict[str, Any]


def read_config_file(path: str) -> ConfigFile:
    """Read a TOML file; raises SettingError."""
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
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


def settings_elsewhere(environment: Mapping[str, str], arguments: Sequence[str]) -> Settings:
    """The settings where the server is another, whose command line ``arguments`` is; raises SettingError."""
    path = config_path(environment, arguments)
    return gather({}, environment, read_config_file(path) if path else None, ours=False)


def config_path(environment: Mapping[str, str], arguments: Sequence[str]) -> str | None:
    """The file that has our table: the one that the environment names, else hypercorn's, where that is what serves."""
    return environment.get(VARIABLE) or hypercorn_file(arguments)


def is_hypercorn(arguments: Sequence[str]) -> bool:
    """Whether a process has hypercorn's command line; those that hypercorn starts have the same."""
    program = PurePath(arguments[0]) if arguments else PurePath()
    return program.name == "hypercorn" or program.parts[-2:] == ("hypercorn", "__main__.py")


def hypercorn_file(arguments: Sequence[str]) -> str | None:
    """The TOML file that hypercorn's command line names, if it is one and does."""
    if not is_hypercorn(arguments):
        return None
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("-c", "--config")
    path: str | None = parser.parse_known_args(list(arguments[1:]))[0].config
    if path is None or path.startswith(("file:", "python:")):
        return None
    return os.fspath(path)
