"""The time for which a guest may run without the event loop."""

from __future__ import annotations

import time

#: seconds. Other requests of the instance wait this long. A guest that runs for 10 ms counts as CPU-bound, and it may
#: have filled one body before this slice and fill another after it.
_LENGTH = 0.002


class TimeSlice:
    """The time in which a guest uses one end of a stream without a pause, while host functions move the data."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        #: None: the next operation begins a slice
        self._end: float | None = None

    def may_continue(self) -> bool:
        """Return whether the guest may continue. If not, it must wait once, and the next call begins a new slice."""
        now = time.perf_counter()
        if self._end is None:
            self._end = now + _LENGTH
        elif now >= self._end:
            self._end = None
            return False
        return True

    def end(self) -> None:
        """End the slice, because the guest waits."""
        self._end = None
