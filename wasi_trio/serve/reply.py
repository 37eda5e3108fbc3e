"""A guest's response on its way to an ASGI server."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import trio

from wasi_trio.serve import http2
from wasi_trio.serve.connection import Connection, connection_of
from wasi_trio.serve.cutting import cut_response
from wasi_trio.serve.http1 import Http1Connection
from wasi_trio.serve.upload import Message, Upload
from wasi_trio.wasi.http.body import Body, BodyAborted, Trailers
from wasi_trio.wasi.http.messages import Response

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("wasi_trio.serve")

#: what the server alone says, because it is about its connection
_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
#: what frames a message, and so can not come after it
_NO_TRAILERS = _CONNECTION | {"content-length", "host", "trailer"}
_TRAILERS = "http.response.trailers"


#: bytes of a response that a client of HTTP/2 has to take in the time that it has
_PIECE = 64 << 10


class ClientStalled(Exception):
    """The client takes nothing of a response; the message is one line."""


class BadResponse(Exception):
    """A response can not be sent, or not to its end, as the guest gave it; the message is one line."""


def error_response(status: int, retry_after: int | None = None) -> Response:
    """What a client is told where there is no response of a guest's, and when to try again, in seconds."""
    content = f"{HTTPStatus(status).phrase}\n".encode()
    headers = [("content-type", b"text/plain; charset=utf-8"), ("content-length", b"%d" % len(content))]
    if retry_after is not None:
        headers.append(("retry-after", b"%d" % retry_after))
    return Response(status, headers, Body.of(content))


class Reply:
    """One response to one request. Raises BadResponse where it is one that HTTP does not have.

    ``whole`` says that all of its content is there, so that ``send_whole`` will do; otherwise it is
    ``send_stream`` that sends it.
    """

    __slots__ = (
        "_bodiless",
        "_body",
        "_connection",
        "_http1",
        "_left",
        "_patience",
        "_send",
        "_start",
        "_target",
        "_trailers_wanted",
        "_trailing",
        "whole",
    )

    def __init__(self, scope: Scope, send: Send, response: Response, adds_date: bool) -> None:
        status = response.status
        if not 200 <= status <= 999:
            raise BadResponse(f"the guest answered with status {status}")
        self._target = scope["method"], path_of(scope)
        self._connection = connection = connection_of(scope)
        self._send = send
        self._body = body = response.body
        headers: list[tuple[bytes, bytes]] = []
        declared: int | None = None
        for name, value in response.headers:
            key = name.lower()
            if key in _CONNECTION:
                continue
            if key == "content-length":
                length = int(value)
                if declared is not None:
                    if length != declared:
                        raise BadResponse(f"the guest gave two lengths, {declared} and {length}")
                    continue
                declared = length
            elif key == "date":
                adds_date = False
            headers.append((key.encode("latin-1"), value))
        if adds_date:
            headers.append((b"date", current_date()))
        head = scope["method"] == "HEAD"
        self._bodiless = head or status == 204 or status == 304
        #: how trailers go over HTTP/1.1, of which ASGI does not know: with what has its length there are none
        self._trailing: Http1Connection | None = None
        self._http1 = None if connection is None else connection.http1
        # Over HTTP/1 the connection itself sees to it; over HTTP/2 one stream may be held up, of many.
        self._patience = math.inf if connection is None or self._http1 is not None else connection.send_timeout
        if self._http1 is not None and declared is None and scope["http_version"] == "1.1":
            self._trailing = self._http1
        has_way = self._trailing is not None or _TRAILERS in scope.get("extensions", ())
        self._trailers_wanted = not self._bodiless and has_way and _accepts_trailers(scope)
        self.whole = self._bodiless or (body.finished and body.error is None)
        #: of the length that the guest has declared, what it has yet to write
        self._left = None if self._bodiless else declared
        if self.whole and not self._bodiless:
            if declared is None:
                if not (body.trailers and self._trailers_wanted):
                    headers.append((b"content-length", b"%d" % body.buffered))
            elif declared != body.buffered:
                raise BadResponse(f"the guest gave the length {declared} to content of {body.buffered} bytes")
        self._start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}

    async def send_whole(self, upload: Upload) -> bool:
        """Send a response of which everything is there; whether that went to the end.

        A client that takes nothing of it for too long has it cut, and a line is logged.
        """
        body = self._body
        content = b"" if self._bodiless else body.take(body.buffered)
        trailers = body.trailers if self._trailers_wanted else None
        body.close()
        if trailers and self._trailing is None:
            self._start["trailers"] = True
        connection = self._connection
        if connection is not None:
            connection.cork()
        try:
            await self._send(self._start)
            if trailers:
                await self._end(content, trailers)
            else:
                await self._deliver(content, more=False)
        except ClientStalled as error:
            return await self._cut(upload, str(error), logging.WARNING)
        finally:
            if connection is not None:
                await connection.uncork()
        return True

    async def send_stream(self, upload: Upload) -> bool:
        """Send the response as the guest writes it; whether that went to the end.

        ``upload`` is being run meanwhile. Where the client leaves this returns; where the guest breaks off, or
        gives other than the length it announced, the response is cut, visibly for the client, and a line logged.
        """
        if self._trailers_wanted and self._trailing is None:
            self._start["trailers"] = True
        await self._send(self._start)
        try:
            # Only the sending of content is ever cancelled. Other events, were they dropped half-way, would
            # leave an HTTP/2 connection in disorder that other requests share.
            with trio.CancelScope() as sending:
                upload.on_left = sending.cancel
                if not upload.client_left:
                    await self._send_content(upload)
        except BodyAborted as error:
            return await self._cut(upload, f"the guest broke off its response: {error}")
        except BadResponse as error:
            return await self._cut(upload, str(error))
        except ClientStalled as error:
            return await self._cut(upload, str(error), logging.WARNING)
        finally:
            upload.on_left = None
            trailers = self._body.trailers
            self._body.close()
        if upload.client_left:
            return False
        upload.end()
        try:
            await self._end(b"", trailers or [])
        except ClientStalled as error:
            return await self._cut(upload, str(error), logging.WARNING)
        return True

    async def _send_content(self, upload: Upload) -> None:
        body = self._body
        connection, http1 = self._connection, self._http1
        if connection is not None and http1 is not None:
            body.on_full = upload.on_starved = partial(self._send_now, connection, http1)
        try:
            while pieces := await body.receive_pieces():
                if self._left is not None:
                    self._left -= sum(map(len, pieces))
                    if self._left < 0:
                        raise BadResponse("the guest wrote more content than the length it gave")
                if connection is not None and http1 is not None:
                    await connection.send_content(http1, pieces)
                else:
                    await self._deliver(b"".join(pieces), more=True)
        finally:
            body.on_full = upload.on_starved = None
        if self._left:
            raise BadResponse(f"the guest ended its content {self._left} bytes before the length it gave")

    def _send_now(self, connection: Connection, http1: Http1Connection) -> bool:
        """The guest is about to wait: send what it has written, if that can be done at once; whether anything was."""
        body = self._body
        if not body.buffered or (self._left is not None and body.buffered > self._left):
            return False
        sent = connection.send_content_now(http1, body)
        if self._left is not None:
            self._left -= sent
        return sent > 0

    async def _end(self, content: bytes, trailers: Trailers) -> None:
        """Send the last of the content, and trailers if they are wanted."""
        trailers = [(name.lower(), value) for name, value in trailers if name.lower() not in _NO_TRAILERS]
        if self._trailing is not None and self._trailers_wanted:
            self._trailing.response_trailers = trailers
        if not trailers and "trailers" in self._start and http2.carries(self._send):
            # hypercorn would send a head without a field, which h2 can not, and looks at this again at the end.
            del self._start["trailers"]
        await self._deliver(content, more=False)
        if "trailers" in self._start:
            headers = [(name.encode("latin-1"), value) for name, value in trailers]
            await self._deliver_message({"type": _TRAILERS, "headers": headers, "more_trailers": False})

    async def _deliver(self, content: bytes, more: bool) -> None:
        """Send content, and with the last of it the end, unless there is ``more``; raises ClientStalled."""
        if self._patience < math.inf:
            while len(content) > _PIECE:
                piece, content = content[:_PIECE], content[_PIECE:]
                await self._deliver_message({"type": "http.response.body", "body": piece, "more_body": True})
        await self._deliver_message({"type": "http.response.body", "body": content, "more_body": more})

    async def _deliver_message(self, message: Message) -> None:
        if self._patience == math.inf:
            await self._send(message)
            await http2.taken(self._send)
            return
        with trio.move_on_after(self._patience) as scope:
            await self._send(message)
            await http2.taken(self._send)
        if scope.cancelled_caught:
            raise ClientStalled(f"the client took nothing of the response for {self._patience:g} s")

    async def _cut(self, upload: Upload, reason: str, level: int = logging.ERROR) -> bool:
        logger.log(level, "%s %s: %s", *self._target, reason)
        upload.end()
        await cut_response(self._send)
        return False


def path_of(scope: Scope) -> str:
    """A request's path for a line of the log: as it was sent, since decoded it may have line ends in it."""
    raw_path: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw_path is None else raw_path.decode("latin-1")


def _accepts_trailers(scope: Scope) -> bool:
    return any(name == b"te" and value.strip().lower() == b"trailers" for name, value in scope["headers"])


_date = (0, b"")


def current_date() -> bytes:
    """The value of a ``date`` header now."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]
