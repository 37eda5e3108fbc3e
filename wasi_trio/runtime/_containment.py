"""What users' Python code may raise, and how far that gets: no further than the guest's call for which it runs.

SystemExit, GeneratorExit and whatever else is no Exception pass by every handler that is there for failures, and would
end the whole server. So they are made an Exception where users' code returns to ours. KeyboardInterrupt is not, which
is for the program, nor ``trio.Cancelled``, which is trio's.
"""

from __future__ import annotations

import trio

_PASSING = (KeyboardInterrupt, trio.Cancelled)


class ContainedError(Exception):
    """A host function, or other Python code that ran for a guest, raised something that is no Exception.

    ``raised`` is that: SystemExit, for instance, or a group with one in it.
    """

    def __init__(self, raised: BaseException) -> None:
        super().__init__(raised)
        self.raised = raised
        self.__cause__ = raised

    def __str__(self) -> str:
        text = str(self.raised)
        kind = type(self.raised).__name__
        return f"{kind} was raised for a guest, which ends only the guest's call{f': {text}' if text else ''}"


def split(error: BaseException) -> tuple[Exception | None, BaseException | None]:
    """What users' code raised, in two: the part that stays where it is, and the part that has to go on."""
    if isinstance(error, Exception):
        return error, None
    if isinstance(error, _PASSING):
        return None, error
    passing: BaseException | None = None
    own: BaseException | None = error
    if isinstance(error, BaseExceptionGroup):
        passing, own = error.split(_PASSING)
    if own is not None and not isinstance(own, Exception):
        own = ContainedError(own)
    return own, passing


def contained(error: BaseException) -> BaseException:
    """What users' code raised, with all in it an Exception but KeyboardInterrupt and ``trio.Cancelled``."""
    own, passing = split(error)
    if own is None:
        return error
    if passing is None:
        return own
    return BaseExceptionGroup("a host function was cancelled, and failed", [passing, own])
