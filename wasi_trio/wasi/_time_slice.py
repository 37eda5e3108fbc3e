"""For how long a guest may go on without the event loop."""

from __future__ import annotations

import time

#: seconds. The other requests of its instance wait as long, and a guest that goes on for 10 ms counts as one that
#: computes; it may have filled a body before, and will fill one more.
_LONGEST = 0.002


class TimeSlice:
    """What a guest does in one go with one end of a stream, which its host moves meanwhile, in host functions."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        #: None where the next thing begins a stretch
        self._end: float | None = None

    def goes_on(self) -> bool:
        """Whether it may; where it may not the guest is to wait for once, and after that this begins anew."""
        now = time.perf_counter()
        if self._end is None:
            self._end = now + _LONGEST
        elif now >= self._end:
            self._end = None
            return False
        return True

    def end(self) -> None:
        """The guest has to wait."""
        self._end = None
