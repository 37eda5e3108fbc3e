"""What pytest's plugin and the harness agree on: a list for what a test has opened. It imports nothing else."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trio.lowlevel import RunVar


class Recorded(Protocol):
    """Something that a test opened."""

    def report(self) -> list[tuple[str, str]]:
        """What there is to say of it when the test has failed: titles and texts."""


class Watch(Protocol):
    """The leak check of a test."""

    def worked_on(self, instance: str) -> None:
        """Note that an instance still worked when its block ended."""


#: The leak check of the current test; None without a check.
leaks: ContextVar[Watch | None] = ContextVar("wasi_trio_leaks", default=None)
#: where to put what is opened; None outside of a test that the plugin watches
recorded: ContextVar[list[Recorded] | None] = ContextVar("wasi_trio_recorded", default=None)


def record(opened: Recorded) -> None:
    """Have it reported if the test that runs should fail."""
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
    """Whether the loop that runs has opened something."""
    import trio

    return trio.lowlevel.RunVar("wasi_trio_has_begun", False)
