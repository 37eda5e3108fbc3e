"""One HTTP request and its response, whatever carries them: all that the rest of the server knows of HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from wasi_trio.wasi.http._body import Body, Piece, Trailers
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request


class ClientLeft(Exception):
    """The client is gone, or wants no more of the response."""


class BadResponse(Exception):
    """HTTP cannot carry a response, or the rest of it, as the guest gave it; the message is one line."""


@dataclass(slots=True)
class ResponseHead:
    """Status and fields of a response.

    ``headers`` have no fields that concern the connection; their names are spelled as the guest spells them. ``length``
    is the value of the ``content-length`` among them. ``bodiless`` responses have no content, whatever their length
    says (RFC 9110, section 6.4.1).
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int | None = None
    bodiless: bool = False


class ResponseContent:
    """A response's content on its way out of its body, held to the length that the head declared."""

    __slots__ = ("_left", "body")

    def __init__(self, body: Body, length: int | None) -> None:
        self.body = body
        #: declared bytes that are still to come
        self._left = length

    def take(self) -> list[Piece]:
        """Everything that the body holds now; raises BadResponse if that exceeds the declared length."""
        pieces = self.body.take_pieces()
        if self._left is not None:
            self._left -= sum(map(len, pieces))
            if self._left < 0:
                raise BadResponse("the guest wrote more content than the length it gave")
        return pieces

    async def receive(self) -> list[Piece]:
        """As ``take``, after waiting for the body to hold something; empty at the end.

        Raises BodyAborted if the guest broke the content off, BadResponse if its length is wrong, ClientLeft if nobody
        wants it any more. Cancelling this loses nothing.
        """
        await self.body.wait_readable()
        if self.body.closed:
            raise ClientLeft
        if self.body.buffered:
            return self.take()
        self.body.check()
        if self._left:
            raise BadResponse(f"the guest ended its content {self._left} bytes before the length it gave")
        return []

    def can_take(self) -> bool:
        """Whether ``take`` returns something and raises nothing."""
        buffered = self.body.buffered
        return buffered > 0 and (self._left is None or buffered <= self._left)


class HttpStream(ABC):
    """One request, and the way its response goes.

    A response goes out either by ``send_whole``, or by ``send_head``, any number of ``send_pieces`` and ``end``; in
    between, ``abort`` cuts it so that the client notices. ``send_whole``, ``send_head`` and ``abort`` never wait; what
    they queue is bounded by what they are given.

    ``on_left`` is called once, with the reason, when the client turns out to be gone before the response has gone out.
    """

    __slots__ = ("about", "on_left", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.on_left: Callable[[HttpError], None] | None = None
        #: what else the access log is told of the request; asked when its response is over
        self.about: Callable[[], Mapping[str, str]] | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's address and port, where it has any."""
        return None

    @property
    def version(self) -> str:
        """HTTP's version, such as 1.1 or 2."""
        return ""

    def tell_left(self, reason: HttpError) -> None:
        """Call ``on_left``, unless that was done."""
        on_left, self.on_left = self.on_left, None
        if on_left is not None:
            on_left(reason)

    @abstractmethod
    def receive_into(self, body: Body) -> None:
        """Write the request's content into a body as it comes, no faster than that is read."""

    @abstractmethod
    def send_whole(self, head: ResponseHead, content: bytes, trailers: Trailers | None) -> None:
        """Send a whole response. Fields of ``trailers`` that the client did not ask for are dropped."""

    @abstractmethod
    def send_later(self, send: Callable[[], Awaitable[None]]) -> None:
        """Run ``send`` as a task of the connection's from the event loop's next turn on.

        By then a guest that does not wait may have completed its response; after ``send_whole`` it is not run.
        """

    @abstractmethod
    def send_head(self, head: ResponseHead, content: ResponseContent) -> None:
        """Begin a response. Its head goes out with what follows it, or when ``send_pieces`` has nothing to send.

        The stream may take pieces from ``content`` by itself when its guest is about to wait.
        """

    @abstractmethod
    async def send_pieces(self, pieces: list[Piece]) -> None:
        """Send content; returns when the connection has room for more.

        Raises ClientLeft. Cancelling this leaves the pieces queued.
        """

    @abstractmethod
    async def end(self, trailers: Trailers | None) -> None:
        """End a response that ``send_head`` began; raises what ``send_pieces`` raises."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the response, visibly for the client. Does nothing to one that has gone out."""
