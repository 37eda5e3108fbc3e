"""Generates a package on disk from a component or WIT."""

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
    """Write the bindings of ``source`` into a directory, and return the relative paths of the files.

    ``source`` is the file of a component, a WIT file, or a directory of WIT. ``world`` selects one of several worlds.
    Raises BindgenError or LoadError with a one-line message.
    """
    found, title = read_world(os.fspath(source), world, options)
    host = wasi_imports()
    files = package(found, title, lambda name: host.find(name) is not None)
    save(files, Path(folder))
    return list(files)
