"""Where our settings are if another server runs the application, whose command line is that of the process.

hypercorn takes no notice of the table ``[wasi_trio]`` in its file, and does not tell an application where its
configuration came from: so the file is found without its help.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from wasi_trio.serve._config_file import VARIABLE, gather, read_config_file
from wasi_trio.serve.settings._settings import Settings


def settings_elsewhere(environment: Mapping[str, str], arguments: Sequence[str]) -> Settings:
    """The settings where the server is another, whose command line ``arguments`` is; raises SettingError."""
    path = config_path(environment, arguments)
    return gather({}, environment, read_config_file(path) if path else None, standalone=False)


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
