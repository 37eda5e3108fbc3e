"""Recording modes, shared by pytest's plugin and the harness. Imports nothing else of the package."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class RecordMode(StrEnum):
    """The condition under which a cassette sends a request to the real upstream and records the response."""

    #: The file does not exist.
    ONCE = "once"
    #: No request is recorded.
    NONE = "none"
    #: All requests are recorded, and replace the file's content.
    ALL = "all"
    #: The file has no response to the request.
    NEW_EPISODES = "new_episodes"


@dataclass
class RecordingSession:
    """The common state of all cassettes of a test run. ``mode`` is that of the option; None without the option."""

    mode: RecordMode | None = None
    #: The files that this run has written.
    written: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class RunningTest:
    """The current test. Relative paths of cassettes start at its ``folder``."""

    session: RecordingSession
    folder: Path


#: The current test; None outside of a test that the plugin watches.
running_test: ContextVar[RunningTest | None] = ContextVar("wasi_trio_running_test", default=None)
