"""The limits of a connection."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of each connection. Times are in seconds, and sizes in bytes.

    ``max_head`` is the maximum size of a request's head, and of its trailers. A connection closes after
    ``keep_alive_timeout`` without a complete head, and after ``max_requests`` requests. It also closes after
    ``send_timeout`` without progress in sending, and after ``read_timeout`` without any content of an unfinished
    request. ``handshake_timeout`` limits a TLS handshake. ``half_closed_timeout`` limits the wait for a client that has
    closed its sending side, counted from the last byte sent to it.

    ``max_streams`` is the maximum number of concurrent requests of an HTTP/2 connection, and ``max_frame_size`` the
    maximum size of its frames. A head whose fields exceed ``max_fields`` ends the connection.
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
        """The interval between two checks for expired connections."""
        times = (self.keep_alive_timeout, self.send_timeout, self.read_timeout, self.half_closed_timeout)
        return min(max(min((time for time in times if time), default=1.0) / 10, 0.01), 0.5)
