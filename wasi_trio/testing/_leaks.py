"""The leak check: instances, ends of streams, guests' work and file descriptors that a test leaves open."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import stat
import sys
import time
from typing import Any

from wasi_trio.runtime._instance import Instance

#: The system's list of the open file descriptors of this process.
_LISTING = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
#: The memory that wasmtime keeps open for compiled code, which the session shares.
_CODE = "/memfd:wasm-memory-image"
#: The file of a module in a cache of compiled code (``runtime._kept_code``), wherever that is.
_KEPT_CODE = re.compile(r"/wasi_trio/code/[0-9a-f]{64}-[^/]+/\d+(?: \(deleted\))?$")
#: Time for other threads to close their short-lived descriptors, in seconds.
_PATIENCE = 0.5
#: The maximum number of lines.
_LISTED = 10

#: A descriptor with its device and file, because another file may get the same number.
Key = tuple[int, int, int]


def descriptors() -> dict[Key, str]:
    """Return the open file descriptors of this process, each with a description."""
    found = {}
    for name in os.listdir(_LISTING):
        try:
            status = os.fstat(int(name))
            found[int(name), status.st_dev, status.st_ino] = _target(int(name), status)
        except OSError:  # The listing's own descriptor, or one that another thread has closed.
            continue
    return found


def _target(descriptor: int, status: os.stat_result) -> str:
    if sys.platform == "linux":
        return os.readlink(f"{_LISTING}/{descriptor}")
    if stat.S_ISSOCK(status.st_mode):
        return "a socket"
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        path = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))  # type: ignore[attr-defined, unused-ignore]
        return os.fsdecode(path.rstrip(b"\0"))
    return "a pipe" if stat.S_ISFIFO(status.st_mode) else "something else"


class Leaks:
    """The check of one test. It is the ``Register`` of the test's context."""

    def __init__(self) -> None:
        self._before = descriptors()
        #: Open things, each with its description and the place that made it.
        self._open: dict[Any, tuple[str, str]] = {}
        #: The host's open ends of streams that an instance which is about to close may share.
        self._suspects: list[Any] = []
        #: The host's ends whose other end an instance kept until it closed.
        self._severed: set[Any] = set()
        self._working: list[str] = []

    # ---- the Register ------------------------------------------------------------------------------------

    def opened(self, thing: Any, what: str) -> None:
        self._open[thing] = what, _place()

    def closed(self, thing: Any) -> None:
        self._open.pop(thing, None)
        if isinstance(thing, Instance):
            self._severed.update(half for half in self._suspects if half.peer_dropped)
            self._suspects = []

    def ending(self, instance: Any) -> None:
        if instance.dead is None:  # An instance that failed or was cancelled could not close its ends.
            self._suspects = [half for half in self._open if not getattr(half, "peer_dropped", True)]

    # ---- other things ------------------------------------------------------------------------------------

    def worked_on(self, instance: str) -> None:
        """Note that an instance still worked when its block ended."""
        self._working.append(instance)

    def allow(self, before: dict[Key, str]) -> None:
        """Accept all descriptors that were not open ``before``: the session owns them."""
        self._before.update((key, what) for key, what in descriptors().items() if key not in before)

    def found(self) -> list[str]:
        """Return a line for each thing that the test has left open."""
        lines = []
        for instance in self._working:
            lines.append(
                f"{instance} still worked after its response when its block ended:"
                " `await app.idle()` waits for that work"
            )
        for thing, (what, place) in self._open.items():
            if getattr(thing, "peer_dropped", None) is True and thing not in self._severed:
                continue  # The guest has closed its end, and waits for nobody.
            lines.append(f"{what} was not closed{place}")
        lines += self._descriptors()
        if len(lines) > _LISTED:
            lines[_LISTED:] = [f"and {len(lines) - _LISTED} more"]
        return lines

    def _descriptors(self) -> list[str]:
        left = self._new()
        if left:
            gc.collect()  # Collecting closes files without references.
            until = time.monotonic() + _PATIENCE
            while (left := self._new()) and time.monotonic() < until:
                time.sleep(0.01)
        return [f"file descriptor {key[0]} was not closed: {what}" for key, what in left.items()]

    def _new(self) -> dict[Key, str]:
        return {key: what for key, what in descriptors().items() if key not in self._before and not _is_code(what)}


def _is_code(what: str) -> bool:
    """Return whether this is compiled code, which stays open as long as its component."""
    return what.startswith(_CODE) or _KEPT_CODE.search(what) is not None


def _place() -> str:
    """Return the line of the test that makes something; empty if no such line is on the stack."""
    frame = sys._getframe(2)
    while frame is not None:  # type: ignore[redundant-expr, unused-ignore]
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in ("trio", "outcome", "pytest_trio", "_pytest", "pluggy"):
            return ""
        if package not in ("wasi_trio", "contextlib") and not frame.f_code.co_filename.startswith("<"):
            return f" (made at {frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name})"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
