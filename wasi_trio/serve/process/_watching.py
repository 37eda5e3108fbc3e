"""Notices that files have changed: written, renamed over, removed, or reached by links that were swapped.

What is watched are folders, as whoever replaces a file leaves another one in its place: those that the files are in,
and those of each link on the way. watchfiles tells of them, and what is a change is found by looking at the files.
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

#: milliseconds without a change after which a file is taken to be written, and for which that is waited at most
SETTLED, LONGEST = 100, 5000
#: milliseconds between two looks when nothing is told: not every change is, on file systems of a network for example
INTERVAL = 2000
#: links that are followed
MOST_LINKS = 40

#: what tells one state of a file from another; None where there is no such file
Signature: TypeAlias = tuple[int, ...] | None


def check_watching() -> None:
    """Raises SettingError where files cannot be watched."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise SettingError("--watch needs watchfiles: pip install 'wasi-trio[watch]'") from None


def tell_unwatched(settings: Settings) -> None:
    """Tell which components ``watch`` is not about: it looks at files, and not at registries."""
    if settings["watch"]:
        paths = [path for route in settings.routes for path in route.components if is_reference(path)]
        for path in dict.fromkeys(path for path in paths if not is_pinned(path)):
            logger.warning("%s is not watched: SIGHUP looks up what it stands for", path)


def signature(path: str) -> Signature:
    """What a path leads to. Of a folder only which one it is counts, and not what is in it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return found.st_dev, found.st_ino
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def folders_of(path: str) -> set[str]:
    """The folders in which something changes when another file comes to be at a path."""
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
        except OSError:  # no link, or not there
            if not pending or not os.path.isdir(there):
                folders.add(here)
                break
            here = there
            continue
        folders.add(here)
        links += 1
        if links > MOST_LINKS:
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
    """What is watched, and how it was when it was last looked at; to look may take long, and is for a thread."""

    def __init__(self, paths: Callable[[], Collection[str]]) -> None:
        self._paths = paths
        self.signatures: dict[str, Signature] = {}
        self.folders: Mapping[str, Signature] = {}

    def _look(self) -> dict[str, Signature]:
        return {path: signature(path) for path in self._paths()}

    def place(self) -> Mapping[str, Signature]:
        """The folders to watch, each with what tells whether it is still the same."""
        return {folder: signature(folder) for path in self._paths() for folder in folders_of(path)}

    def changed(self) -> set[str]:
        """The paths that lead to something else than at the last look.

        Those that are new here are among them: they may have changed since they were read.
        """
        before, self.signatures = self.signatures, self._look()
        return {path for path, now in self.signatures.items() if path not in before or before[path] != now}


async def watch(paths: Callable[[], Collection[str]], on_change: Callable[[set[str]], None]) -> None:
    """Call ``on_change`` with those of ``paths``, which are asked for each time, that have changed, until cancelled.

    At first that is all of them.
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
                    # What changed before this began to watch is found by the look that comes first.
                    changed = await trio.to_thread.run_sync(state.changed, abandon_on_cancel=True)
                    if changed:
                        on_change(changed)
                    if state.folders != await trio.to_thread.run_sync(state.place, abandon_on_cancel=True):
                        break
                    await trio.to_thread.run_sync(next, changes, None, abandon_on_cancel=True)
            except OSError as error:
                # A folder has just gone, or the system watches no more of them: then this looks every now and then.
                if not is_told and not isinstance(error, FileNotFoundError):
                    is_told = True
                    logger.warning("files are looked at every %g s: %s", INTERVAL / 1000, error)
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
        debounce=LONGEST,
        step=SETTLED,
        stop_event=stop,
        rust_timeout=INTERVAL,
        yield_on_timeout=True,
        recursive=False,
        raise_interrupt=False,
    )
    return changes
