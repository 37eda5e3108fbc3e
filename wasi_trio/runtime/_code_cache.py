"""Where wasmtime keeps compiled code, and whether it can."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

#: what wasmtime calls itself among a user's folders, and where caches are
_WASMTIME = "BytecodeAlliance.wasmtime" if sys.platform == "darwin" else "wasmtime"
_CACHES = ("Caches", "XDG_CACHE_HOME", ".cache")


class CacheError(Exception):
    """There is no place for compiled code; the message is one line."""


def cache_folder() -> Path:
    """The folder of wasmtime's cache: the one that its configuration file names, or the user's own for caches.

    Raises CacheError where the file cannot be read, or there is no home.
    """
    configured = _configured()
    return _user_folder(*_CACHES, _WASMTIME) if configured is None else configured


def own_cache_folder() -> Path:
    """The folder of what wasi_trio itself keeps and does without; raises CacheError if there is no home.

    It is not in wasmtime's, which throws out what it does not know.
    """
    return _user_folder(*_CACHES, "wasi_trio")


def check_cache() -> Path:
    """The cache's folder, where code can be kept; raises CacheError if that is not so.

    wasmtime itself says nothing of code that it fails to keep.
    """
    folder = cache_folder()
    try:
        (folder / "modules").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder / "modules") as file:
            file.write(b"\0")
    except OSError as error:
        raise CacheError(f"compiled code cannot be kept in {folder}: {error.strerror}") from None
    return folder


def cache_configuration() -> Path | None:
    """The file to configure wasmtime's cache from: its user's if there is one, else ours; None if there is no home."""
    try:
        path = _user_configuration()
    except CacheError:
        return None
    return path if path.exists() else Path(__file__).with_name("cache.toml")


def _user_configuration() -> Path:
    return _user_folder("Application Support", "XDG_CONFIG_HOME", ".config", _WASMTIME) / "config.toml"


def _configured() -> Path | None:
    import tomllib

    path = _user_configuration()
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CacheError(f"cannot read {path}: {error}") from None
    cache = content.get("cache", {})
    directory = cache.get("directory") if isinstance(cache, dict) else None
    return Path(directory) if isinstance(directory, str) else None


def _user_folder(library: str, variable: str, hidden: str, program: str) -> Path:
    """A program's folder among those that a user's programs have for one purpose."""
    try:
        home = Path.home()
    except RuntimeError:
        raise CacheError("compiled code cannot be kept: there is no home directory") from None
    if sys.platform == "darwin":
        return home / "Library" / library / program
    named = os.environ.get(variable, "")
    return (Path(named) if os.path.isabs(named) else home / hidden) / program
