"""The end of a response under hypercorn.

hypercorn reports the client's departure not only when the client leaves, but also while it handles the end of a
response. An application that took this for a departure would interrupt hypercorn, which then neither reuses nor closes
the connection. This module tells the two apart through the object behind hypercorn's ``send``.
"""

from __future__ import annotations

from typing import Any

from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream


def has_sent_end(send: Any) -> bool:
    """Return whether hypercorn has sent the end of the response with this ASGI ``send``."""
    stream = getattr(send, "__self__", None)
    return isinstance(stream, HTTPStream) and stream.state is ASGIHTTPState.CLOSED
