"""Watching of files for changes: writes, renames, removals, and links that are exchanged.

Replacing a file puts another one in its place. So folders are watched: those of the files, and those of each link on
the way. watchfiles reports events in folders, and a look at the files decides whether one has changed.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias

import trio

from wasi_trio._texts import get_logger
from wasi_trio.serve.settings._setting import SettingError
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.wasi.registry._references import is_pinned, is_reference

logger = get_logger("wasi_trio.serve")

#: The quiet time after which a written file counts as complete, and the maximum wait for it, in milliseconds.
SETTLE_TIME, MAX_SETTLE_TIME = 100, 5000
#: The interval of checks without events, in milliseconds. Network file systems, for example, report few events.
INTERVAL = 2000
#: The maximum number of links to follow.
MAX_LINKS = 40

#: Identifies the state of a file. None for a file that does not exist.
Signature: TypeAlias = tuple[int, ...] | None


def check_watching() -> None:
    """Raise SettingError if files cannot be watched."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise SettingError("--watch needs watchfiles: pip install 'wasi-trio[watch]'") from None


def warn_unwatched(settings: Settings) -> None:
    """Log the components that ``watch`` does not cover, because they come from registries."""
    if settings["watch"]:
        paths = [path for route in settings.routes for path in route.components if is_reference(path)]
        for path in dict.fromkeys(path for path in paths if not is_pinned(path)):
            logger.warning("%s is not watched; SIGHUP looks it up again", path)


def signature(path: str) -> Signature:
    """Return the state of the file at a path. For a folder this is its identity, and not its content."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def folders_of(path: str) -> set[str]:
    """Return the folders that change when another file takes the place of the one at a path."""
    folders: set[str] = set()
    pending = [name for name in os.path.abspath(path).split(os.sep) if name]
    pending.reverse()
    here = os.sep
    links = 0
    while pending:
        name = pending.pop()
        there = os.path.join(here, name)
        try:
            target = os.readlink(there)
        except OSError:  # not a link, or absent
            if not pending or not os.path.isdir(there):
                folders.add(here)
                break
            here = there
            continue
        folders.add(here)
        links += 1
        if links > MAX_LINKS:
            break
        if target.startswith(os.sep):
            here = os.sep
        for part in reversed([part for part in target.split(os.sep) if part not in ("", ".")]):
            pending.append(part)
        while pending and pending[-1] == "..":
            pending.pop()
            here = os.path.dirname(here)
    return folders


class _State:
    """The watched files and folders as last seen. Its methods may take long, and are called in threads."""

    def __init__(self, paths: Callable[[], Collection[str]]) -> None:
        self._paths = paths
        self.signatures: dict[str, Signature] = {}
        self.folders: Mapping[str, Signature] = {}

    def _look(self) -> dict[str, Signature]:
        return {path: signature(path) for path in self._paths()}

    def place(self) -> Mapping[str, Signature]:
        """Return the folders to watch, with their identities."""
        return {folder: signature(folder) for path in self._paths() for folder in folders_of(path)}

    def changed(self) -> set[str]:
        """Return the paths whose files have changed since the last call.

        New paths count as changed: their files may have changed since they were read.
        """
        before, self.signatures = self.signatures, self._look()
        return {path for path, now in self.signatures.items() if path not in before or before[path] != now}


async def watch(paths: Callable[[], Collection[str]], on_change: Callable[[set[str]], None]) -> None:
    """Call ``on_change`` with the changed ones of ``paths`` until cancelled. ``paths`` is called again each time.

    The first call reports all paths.
    """
    state = _State(paths)
    stop = threading.Event()
    is_told = False
    try:
        while True:
            state.folders = await trio.to_thread.run_sync(state.place, abandon_on_cancel=True)
            try:
                changes = _changes(list(state.folders), stop)
                while True:
                    # Changes from before the watch are found by this check.
                    changed = await trio.to_thread.run_sync(state.changed, abandon_on_cancel=True)
                    if changed:
                        on_change(changed)
                    if state.folders != await trio.to_thread.run_sync(state.place, abandon_on_cancel=True):
                        break
                    await trio.to_thread.run_sync(next, changes, None, abandon_on_cancel=True)
            except OSError as error:
                # A folder has just gone, or the system's limit of watches is reached. Then this checks at intervals.
                if not is_told and not isinstance(error, FileNotFoundError):
                    is_told = True
                    logger.warning("Checking files every %g s in place of watching them: %s", INTERVAL / 1000, error)
                await trio.sleep(INTERVAL / 1000)
                changed = await trio.to_thread.run_sync(state.changed, abandon_on_cancel=True)
                if changed:
                    on_change(changed)
    finally:
        stop.set()


def _changes(folders: Collection[str], stop: threading.Event) -> Iterator[Any]:
    from watchfiles import watch as watch_folders

    changes: Iterator[Any] = watch_folders(
        *folders,
        watch_filter=None,
        debounce=MAX_SETTLE_TIME,
        step=SETTLE_TIME,
        stop_event=stop,
        rust_timeout=INTERVAL,
        yield_on_timeout=True,
        recursive=False,
        raise_interrupt=False,
    )
    return changes
