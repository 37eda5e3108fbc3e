"""Ending a response that has begun so that the client sees it was cut.

ASGI has no word for this. An application that returns early makes hypercorn close an HTTP/1 connection, which
shows where the response is chunked or has a length. It does not show in HTTP/1.0 without a length, where the end
of the connection is the end of the content; and an HTTP/2 stream is just left open. Both are put right here,
where the server is hypercorn, through the objects behind its ``send``.
"""

from __future__ import annotations

from typing import Any

import h2.errors
import h2.exceptions
import trio
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from wasi_trio.serve.http._transport import reset


async def cut_response(send: Any) -> None:
    """End, in its middle, the response that was begun with this ASGI ``send``."""
    stream = getattr(send, "__self__", None)
    if not isinstance(stream, HTTPStream) or stream.closed:
        return
    protocol = getattr(stream.send, "__self__", None)
    if isinstance(protocol, H2Protocol):
        try:
            protocol.connection.reset_stream(stream.stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        except h2.exceptions.ProtocolError:
            return  # the client was faster
        await protocol._flush()
        # What is still buffered for the stream is only found to be unsendable, and dropped, once it is tried.
        await protocol._window_updated(stream.stream_id)
    elif isinstance(protocol, H11Protocol) and _ends_with_connection(stream):
        connection = getattr(protocol.send, "__self__", None)
        transport = getattr(connection, "stream", None)
        if isinstance(transport, (trio.SocketStream, trio.SSLStream)):
            reset(transport)
    # What hypercorn does when the application has returned, but now, while the caller still takes its events.
    await stream.app_send(None)


def _ends_with_connection(stream: HTTPStream) -> bool:
    return stream.scope["http_version"] == "1.0" and not any(
        name.lower() == b"content-length" for name, _ in stream.response.get("headers", ())
    )
