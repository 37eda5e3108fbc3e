"""The files in deploy/, and their command lines."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

import pytest

from tests.guests.build import ROOT

DEPLOY = ROOT / "deploy"
#: the name of the component in all files
COMPONENT = "app.wasm"


def tool(name: str) -> str:
    """Return the path of a program that checks one of the files. Skip the test if it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def options(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a ``wasi-trio serve`` command line, with free addresses, for ``command``."""
    program, name, *rest = arguments
    assert program.rsplit("/", 1)[-1] == "wasi-trio"
    assert name == "serve"
    assert rest.pop().rsplit("/", 1)[-1] == COMPONENT
    at = rest.index("--addr")
    del rest[at : at + 2]
    rest[rest.index("--admin-addr") + 1] = "127.0.0.1:0"
    return tuple(rest)


def option(arguments: Sequence[str], name: str) -> str:
    """Return the value of an option, in any notation."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    return words[words.index(name) + 1]


def seconds(duration: str) -> float:
    """Parse a duration in the notation of the files."""
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return float(found[1])
