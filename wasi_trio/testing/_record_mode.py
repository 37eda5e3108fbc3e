"""When cassettes record, as pytest's plugin and the harness agree on it. It imports nothing else of the package."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class RecordMode(StrEnum):
    """When a cassette sends a request to the real upstream and records the response."""

    #: if the file does not exist
    ONCE = "once"
    #: never
    NONE = "none"
    #: always, in the place of what the file has
    ALL = "all"
    #: if the file has no response to it
    NEW_EPISODES = "new_episodes"


@dataclass
class RecordingSession:
    """What holds for all cassettes of a test run. ``mode`` is the option's, None without the option."""

    mode: RecordMode | None = None
    #: the files that this run has written
    written: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class RunningTest:
    """The test that runs. Paths of cassettes start at its ``folder``."""

    session: RecordingSession
    folder: Path


#: None outside of a test that the plugin watches
running_test: ContextVar[RunningTest | None] = ContextVar("wasi_trio_running_test", default=None)
