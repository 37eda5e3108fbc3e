"""What pytest's plugin and the harness agree on: a list for what a test has opened. It imports nothing else."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Recorded(Protocol):
    """Something that a test opened."""

    def report(self) -> list[tuple[str, str]]:
        """What there is to say of it when the test has failed: titles and texts."""


class Watch(Protocol):
    """Looks for what a test leaves behind."""

    def worked_on(self, instance: str) -> None:
        """An instance still worked when its block ended."""


#: what looks for leaks of the test that runs, if anything does
leaks: ContextVar[Watch | None] = ContextVar("wasi_trio_leaks", default=None)
#: where to put what is opened; None outside of a test that the plugin watches
recorded: ContextVar[list[Recorded] | None] = ContextVar("wasi_trio_recorded", default=None)


def record(opened: Recorded) -> None:
    """Have it reported if the test that runs should fail."""
    records = recorded.get()
    if records is not None:
        records.append(opened)
