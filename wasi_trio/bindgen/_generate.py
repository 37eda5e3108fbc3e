"""From a component or WIT to a package on disk."""

from __future__ import annotations

import os
from pathlib import Path

from wasi_trio.bindgen._input import read_world
from wasi_trio.bindgen._package import package, save
from wasi_trio.wasi._imports import wasi_imports
from wasi_trio.wasi._loading import DEFAULT, EngineOptions


def generate(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    world: str | None = None,
    options: EngineOptions = DEFAULT,
) -> list[str]:
    """Write the bindings of ``source`` into a folder, and return the paths of the files in it.

    ``source`` is a component's file, a WIT file, or a folder of WIT; where WIT has several worlds, ``world`` names one.
    Raises BindgenError or LoadError, with one line that says what is wrong.
    """
    found, title = read_world(os.fspath(source), world, options)
    host = wasi_imports()
    files = package(found, title, lambda name: host.find(name) is not None)
    save(files, Path(folder))
    return list(files)
