"""The source of settings under another ASGI server.

hypercorn ignores the table ``[wasi_trio]`` in its configuration file, and does not tell an application which file that
was. So this module finds the file from the command line of the process.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from wasi_trio.serve._config_file import gather, read_config_file
from wasi_trio.serve.settings._setting import CONFIGURATION
from wasi_trio.serve.settings._settings import Settings


def settings_under_asgi(environment: Mapping[str, str], arguments: Sequence[str]) -> Settings:
    """Return the settings under another server. ``arguments`` are its command line. Raise SettingError."""
    path = config_path(environment, arguments)
    return gather({}, environment, read_config_file(path) if path else None, standalone=False)


def config_path(environment: Mapping[str, str], arguments: Sequence[str]) -> str | None:
    """Return the file with the table ``[wasi_trio]``: the one in the environment, or else hypercorn's."""
    return environment.get(CONFIGURATION) or hypercorn_file(arguments)


def is_hypercorn(arguments: Sequence[str]) -> bool:
    """Return whether a command line is hypercorn's. Processes started by hypercorn have the same one."""
    program = PurePath(arguments[0]) if arguments else PurePath()
    return program.name == "hypercorn" or program.parts[-2:] == ("hypercorn", "__main__.py")


def hypercorn_file(arguments: Sequence[str]) -> str | None:
    """Return the TOML file in hypercorn's command line, if any."""
    if not is_hypercorn(arguments):
        return None
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("-c", "--config")
    path: str | None = parser.parse_known_args(list(arguments[1:]))[0].config
    if path is None or path.startswith(("file:", "python:")):
        return None
    return os.fspath(path)
