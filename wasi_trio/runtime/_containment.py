"""Limits exceptions of users' Python code to the guest's call for which the code runs.

SystemExit, GeneratorExit and other exceptions that are not an Exception pass all handlers for failures, and would end
the whole server. So they are converted to an Exception when users' code returns to ours. KeyboardInterrupt is not
converted, because it is for the program. ``trio.Cancelled`` is not converted, because it is for trio.
"""

from __future__ import annotations

import trio

_PASSING = (KeyboardInterrupt, trio.Cancelled)


class ContainedError(Exception):
    """A host function, or other Python code for a guest, raised a BaseException that is not an Exception.

    ``raised`` is that exception, such as SystemExit or a group that contains one.
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
    """Split an exception of users' code into the part to contain and the part to propagate."""
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
    """Return an exception of users' code, with all but KeyboardInterrupt and ``trio.Cancelled`` made an Exception."""
    own, passing = split(error)
    if own is None:
        return error
    if passing is None:
        return own
    return BaseExceptionGroup("a host function was cancelled, and failed", [passing, own])
