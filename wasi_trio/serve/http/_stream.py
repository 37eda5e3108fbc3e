"""The interface of one HTTP request and its response, for all versions of HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from wasi_trio.wasi.http._body import Body, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request


class ClientLeft(Exception):
    """The client has left, or wants no more of the response."""


class BadResponse(Exception):
    """HTTP cannot carry a guest's response, or the rest of it. The message is one line."""


@dataclass(slots=True)
class ResponseHead:
    """The status and the fields of a response.

    ``headers`` contain no fields that concern the connection, and keep the guest's spelling of names. ``length`` is the
    value of their ``content-length``. ``bodiless`` responses have no content, whatever their length says (RFC 9110,
    section 6.4.1).
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int | None = None
    bodiless: bool = False


class ResponseContent:
    """The content of a response, read from its body and checked against the announced length."""

    __slots__ = ("_left", "body")

    def __init__(self, body: Body, length: int | None) -> None:
        self.body = body
        #: The number of announced bytes still to come.
        self._left = length

    def take(self) -> list[Piece]:
        """Return the whole content of the body. Raise BadResponse if it exceeds the announced length."""
        pieces = self.body.take_pieces()
        if self._left is not None:
            self._left -= sum(map(len, pieces))
            if self._left < 0:
                raise BadResponse("the guest wrote more content than the length it announced")
        return pieces

    async def receive(self) -> list[Piece]:
        """Wait for content, and return it as ``take`` does. Return an empty list at the end.

        Raise BodyAborted if the guest cut the content, BadResponse if its length is wrong, and ClientLeft if the client
        has left. Cancellation loses nothing.
        """
        await self.body.wait_readable()
        if self.body.closed:
            raise ClientLeft
        if self.body.buffered:
            return self.take()
        self.body.check()
        if self._left:
            raise BadResponse(f"the guest ended its content {self._left} bytes before the length it announced")
        return []

    def can_take(self) -> bool:
        """Return whether ``take`` would return content and raise nothing."""
        buffered = self.body.buffered
        return buffered > 0 and (self._left is None or buffered <= self._left)


class HttpStream(Protocol):
    """One request, and the way to send its response.

    A response is sent either by ``send_whole``, or by ``send_head``, any number of ``send_pieces``, and ``end``.
    ``abort`` cuts it, so that the client notices. ``send_whole``, ``send_head`` and ``abort`` never wait. They queue no
    more than their arguments.

    ``on_left`` is called once, with the reason, if the client leaves before the response was sent.
    """

    request: Request
    on_left: Callable[[HttpError], None] | None
    #: Returns further fields for the access log. Called at the end of the response.
    about: Callable[[], Mapping[str, str]] | None

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's address and port, if it has any."""

    @property
    def version(self) -> str:
        """The HTTP version, such as 1.1 or 2."""

    def receive_into(self, body: Body) -> None:
        """Write the request's content into a body as it arrives, at the pace of the body's reader."""

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        """Send a complete response. Trailers are dropped if the client did not ask for them."""

    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        """Run ``send`` as a task of the connection, from the event loop's next turn on.

        By then a guest that does not wait may have completed its response. After ``send_whole`` it is not run.
        """

    def send_head(self, head: ResponseHead, content: ResponseContent) -> None:
        """Begin a response. The head is sent with the first content, or by ``send_pieces`` without content.

        The stream may take pieces from ``content`` by itself when the guest is about to wait.
        """

    async def send_pieces(self, pieces: list[Piece]) -> None:
        """Send content. Return when the connection has room for more.

        Raise ClientLeft. Cancellation leaves the pieces queued.
        """

    async def end(self, trailers: Trailers | None) -> None:
        """End a response begun by ``send_head``. Raise ClientLeft."""

    def abort(self) -> None:
        """Cut the response, visibly for the client. Do nothing if it was sent."""


def report_left(stream: HttpStream, reason: HttpError) -> None:
    """Call a stream's ``on_left``, unless it was called before."""
    on_left, stream.on_left = stream.on_left, None
    if on_left is not None:
        on_left(reason)
