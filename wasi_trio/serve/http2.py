"""What hypercorn's HTTP/2 leaves to those who send by it."""

from __future__ import annotations

from typing import Any

from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream


async def taken(send: Any) -> None:
    """Wait until what was sent with this ASGI ``send`` has gone out, or its stream is closed, if it goes over HTTP/2.

    hypercorn itself waits only for a client that takes content now and then: one that gives no leave to send any more
    looks to it like one that has taken all, so that it would hold content without end.
    """
    stream = getattr(send, "__self__", None)
    if isinstance(stream, HTTPStream):
        protocol = getattr(stream.send, "__self__", None)
        if isinstance(protocol, H2Protocol):
            buffer = protocol.stream_buffers.get(stream.stream_id)
            if buffer is not None and buffer.buffer:
                await buffer.drain()
