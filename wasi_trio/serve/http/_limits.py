"""What a server allows its clients."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of each connection; times are in seconds.

    ``max_head`` is the size in bytes of a request's head, and of its trailers. A connection closes after
    ``keep_alive_timeout`` without a whole head, after ``max_requests`` requests, and when its client takes nothing of
    what is sent for ``send_timeout``, or sends nothing of a request's content for ``read_timeout``. A client that has
    ended its side of the connection is waited on for ``half_closed_timeout`` after anything was last sent to it.
    ``max_streams`` are the requests that one HTTP/2 connection may have under way, ``max_frame_size`` is the size in
    bytes of the frames it may send, and ``max_fields`` that of the fields of one head, beyond which it ends.
    """

    max_head: int = 16 << 10
    keep_alive_timeout: float = 5.0
    max_requests: float = math.inf
    send_timeout: float = math.inf
    read_timeout: float = math.inf
    handshake_timeout: float = 60.0
    half_closed_timeout: float = 30.0
    max_streams: int = 100
    max_frame_size: int = 16 << 10
    max_fields: int = 64 << 10

    @property
    def interval(self) -> float:
        """How often to look for connections whose time is over."""
        times = (self.keep_alive_timeout, self.send_timeout, self.read_timeout, self.half_closed_timeout)
        return min(max(min((time for time in times if time), default=1.0) / 10, 0.01), 0.5)
