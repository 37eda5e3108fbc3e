"""The files of deploy/, and the command lines in them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

import pytest

from tests.guests.build import ROOT

DEPLOY = ROOT / "deploy"
#: the component, as every file calls it
COMPONENT = "app.wasm"


def tool(name: str) -> str:
    """The path of a program that checks one of the files; skips the test where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def options(arguments: Sequence[str]) -> tuple[str, ...]:
    """Those of a whole command line of ``wasi-trio serve``, with addresses that are free, for ``command``."""
    program, name, *rest = arguments
    assert program.rsplit("/", 1)[-1] == "wasi-trio"
    assert name == "serve"
    assert rest.pop().rsplit("/", 1)[-1] == COMPONENT
    at = rest.index("--addr")
    del rest[at : at + 2]
    rest[rest.index("--admin-addr") + 1] = "127.0.0.1:0"
    return tuple(rest)


def option(arguments: Sequence[str], name: str) -> str:
    """The value of an option, however it is written."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    return words[words.index(name) + 1]


def seconds(duration: str) -> float:
    """Of a duration as the files have them."""
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return float(found[1])
