"""Locates wasmtime's cache of compiled code, and checks that it is usable."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

#: The name of wasmtime's folder for a user, and the parts of the path to caches.
_WASMTIME = "BytecodeAlliance.wasmtime" if sys.platform == "darwin" else "wasmtime"
_CACHES = ("Caches", "XDG_CACHE_HOME", ".cache")


class CacheError(Exception):
    """Compiled code cannot be stored. The message is one line."""


def cache_folder() -> Path:
    """Return wasmtime's cache folder: the one in its configuration file, or the user's default.

    Raises CacheError if the file cannot be read, or if the user has no home directory.
    """
    configured = _configured()
    return _user_folder(*_CACHES, _WASMTIME) if configured is None else configured


def own_cache_folder() -> Path:
    """Return the folder for wasi_trio's own optional caches. Raises CacheError without a home directory.

    It is outside wasmtime's folder, because wasmtime deletes unknown files there.
    """
    return _user_folder(*_CACHES, "wasi_trio")


def check_cache() -> Path:
    """Return the cache folder after checking that code can be stored in it. Raises CacheError.

    wasmtime itself does not report failures to store code.
    """
    folder = cache_folder()
    try:
        (folder / "modules").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder / "modules") as file:
            file.write(b"\0")
    except OSError as error:
        raise CacheError(f"compiled code cannot be stored in {folder}: {error.strerror}") from None
    return folder


def cache_configuration() -> Path | None:
    """Return the configuration file for wasmtime's cache: the user's or ours, or None without a home directory."""
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
    """Return a program's folder within the user's folder for one purpose, such as caches."""
    try:
        home = Path.home()
    except RuntimeError:
        raise CacheError("compiled code cannot be stored: the user has no home directory") from None
    if sys.platform == "darwin":
        return home / "Library" / library / program
    named = os.environ.get(variable, "")
    return (Path(named) if os.path.isabs(named) else home / hidden) / program
