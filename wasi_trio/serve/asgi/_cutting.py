"""Cutting a response so that the client notices.

ASGI has no event for this. If an application returns early, hypercorn closes an HTTP/1 connection. The client notices
if the response is chunked or has a length. It does not notice in HTTP/1.0 without a length, where the end of the
connection is the end of the content. An HTTP/2 stream just stays open. This module fixes both cases for hypercorn,
through the objects behind its ``send``.
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
    """Cut the response that was begun with this ASGI ``send``."""
    stream = getattr(send, "__self__", None)
    if not isinstance(stream, HTTPStream) or stream.closed:
        return
    protocol = getattr(stream.send, "__self__", None)
    if isinstance(protocol, H2Protocol):
        try:
            protocol.connection.reset_stream(stream.stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        except h2.exceptions.ProtocolError:
            return  # the client has reset the stream already
        await protocol._flush()
        # hypercorn drops the buffered content of the stream only when it tries to send it.
        await protocol._window_updated(stream.stream_id)
    elif isinstance(protocol, H11Protocol) and _ends_with_connection(stream):
        connection = getattr(protocol.send, "__self__", None)
        transport = getattr(connection, "stream", None)
        if isinstance(transport, (trio.SocketStream, trio.SSLStream)):
            reset(transport)
    # hypercorn does this when the application returns. Here the caller still receives its events.
    await stream.app_send(None)


def _ends_with_connection(stream: HTTPStream) -> bool:
    return stream.scope["http_version"] == "1.0" and not any(
        name.lower() == b"content-length" for name, _ in stream.response.get("headers", ())
    )
