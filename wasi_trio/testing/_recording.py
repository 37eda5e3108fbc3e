"""The interface between pytest's plugin and the harness: a list of the objects that a test opened. Imports little."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trio.lowlevel import RunVar


class Recorded(Protocol):
    """An object that a test opened."""

    def report(self) -> list[tuple[str, str]]:
        """Return the titles and texts for the report of a failed test."""


class Watch(Protocol):
    """The leak check of a test."""

    def worked_on(self, instance: str) -> None:
        """Note that an instance still worked when its block ended."""


#: The leak check of the current test; None without a check.
leaks: ContextVar[Watch | None] = ContextVar("wasi_trio_leaks", default=None)
#: The list for opened objects, or None outside a test that the plugin watches.
recorded: ContextVar[list[Recorded] | None] = ContextVar("wasi_trio_recorded", default=None)


def record(opened: Recorded) -> None:
    """Report an object if the current test fails."""
    records = recorded.get()
    if records is None:
        return
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is not None and hypothesis.currently_in_test_context() and not _has_begun().get():
        # Each example has its own loop. Only the last example, which hypothesis shows, is of interest.
        records.clear()
        _has_begun().set(True)
    records.append(opened)


@cache
def _has_begun() -> RunVar[bool]:
    """Return the variable that says whether the current event loop has opened an object."""
    import trio

    return trio.lowlevel.RunVar("wasi_trio_has_begun", False)
