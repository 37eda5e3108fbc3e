"""The bodies of wasi:http/types 0.2: ``incoming-body``, ``future-trailers``, ``outgoing-body`` and their streams."""

from __future__ import annotations

from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._body import Body, BodyClosed
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._lengths import ContentLength
from wasi_trio.wasi.p2._http_fields import Fields
from wasi_trio.wasi.p2._io import InputStream, OutputStream, Pollable, closed, failed

_DONE: Ok[None] = Ok(None)

#: maximum bytes of a response without content that a guest may write all the same, as many do for HEAD
DISCARDED = 1 << 20


class IncomingBody:
    """The body of an incoming message.

    In the WIT, the stream is a child of the body. ``finish`` traps if the stream is alive. If the body is dropped
    first, the stream keeps its content.
    """

    __slots__ = ("body", "dropped", "stream_alive", "taken")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.taken = False
        self.stream_alive = False
        self.dropped = False

    def stream(self) -> Ok[InputStream] | Err[None]:
        if self.taken:
            return Err(None)
        self.taken = self.stream_alive = True
        return Ok(IncomingBodyStream(self))

    @staticmethod
    def finish(this: IncomingBody) -> FutureTrailers:
        """Return the trailers. Raises Trap if the body's stream is alive."""
        if this.stream_alive:
            raise Trap("incoming-body.finish while its input-stream is alive")
        return FutureTrailers(this.body)

    def on_drop(self) -> None:
        self.dropped = True
        if not self.stream_alive:
            self.body.close()


class IncomingBodyStream(InputStream):
    """The content of an ``incoming-body``."""

    __slots__ = ("body", "owner")

    def __init__(self, owner: IncomingBody) -> None:
        super().__init__()
        self.owner = owner
        self.body = owner.body

    def _take(self, limit: int) -> bytes | memoryview | None:
        body = self.body
        if body.available():
            return body.take_view(limit)
        if not body.ended:
            return b""
        if body.error is not None:
            raise failed(body.error)
        return None

    def _ready(self) -> bool:
        return self.body.buffered > 0 or self.body.ended

    async def _wait(self) -> None:
        await self.body.wait_readable()

    def on_drop(self) -> None:
        self.owner.stream_alive = False
        if self.owner.dropped:
            self.body.close()


class FutureTrailers:
    """The resource ``future-trailers``: the end of a body whose content is no longer read."""

    __slots__ = ("body", "consumed")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.consumed = False

    def subscribe(self) -> Pollable:
        return TrailersReady(self.body)

    def get(self) -> Ok[Ok[Fields | None] | Err[Variant]] | Err[None] | None:
        if self.consumed:
            return Err(None)
        body = self.body
        if not _skip_content(body):
            return None
        self.consumed = True
        if body.error is not None:
            return Ok(Err(body.error.code))
        return Ok(Ok(Fields.received(body.trailers) if body.trailers else None))

    def on_drop(self) -> None:
        self.body.close()


class TrailersReady(Pollable):
    """A pollable that is ready when a body has ended. Its wait discards the remaining content."""

    __slots__ = ("body",)

    def __init__(self, body: Body) -> None:
        self.body = body

    @property
    def source(self) -> object:
        return TrailersReady, id(self.body)

    def ready(self) -> bool:
        return _skip_content(self.body)

    async def block(self) -> None:
        while not _skip_content(self.body):
            await self.body.wait_readable()


def _skip_content(body: Body) -> bool:
    """Discard the available content. Return whether the body has ended."""
    if body.buffered:
        body.take(body.buffered)
    return body.ended


class OutgoingBody:
    """The body of an outgoing message, checked against the announced ``content-length``.

    In the WIT, the stream is a child of the body. ``finish`` traps if the stream is alive. A drop without ``finish``,
    in any order, aborts the message so that the peer detects it.
    """

    __slots__ = ("body", "length", "size_case", "stream_alive", "taken")

    def __init__(self, body: Body, length: ContentLength, size_case: str) -> None:
        self.body = body
        self.length = length
        #: the ``error-code`` for content that differs from the announced length
        self.size_case = size_case
        self.taken = False
        self.stream_alive = False

    def write(self) -> Ok[OutputStream] | Err[None]:
        if self.taken:
            return Err(None)
        self.taken = self.stream_alive = True
        return Ok(OutgoingBodyStream(self))

    @staticmethod
    def finish(this: OutgoingBody, trailers: Fields | None) -> Ok[None] | Err[Variant]:
        """End the body. Raises Trap if the body's stream is alive."""
        if this.stream_alive:
            raise Trap("outgoing-body.finish while its output-stream is alive")
        if this.length.wrong:
            return Err(this.cut().code)
        this.body.finish(trailers.for_wire() if trailers is not None else None)
        return _DONE

    def cut(self) -> HttpError:
        """Abort the body because its length differs from the announced one, and return the error."""
        error = HttpError(self.size_case, self.length.written)
        self.body.abort(error)
        return error

    def on_drop(self) -> None:
        self.body.abort(HttpError("HTTP-protocol-error"))


class OutgoingBodyStream(OutputStream):
    """The content of an ``outgoing-body``. Data in the body's pipe counts as flushed."""

    __slots__ = ("body", "owner")

    def __init__(self, owner: OutgoingBody) -> None:
        super().__init__()
        self.owner = owner
        self.body = owner.body

    def _permit(self) -> int:
        body = self.body
        if body.finished:
            raise closed()
        if not body.closed:
            return body.permit()
        if room := self._discardable():
            return room
        raise closed()

    def _put(self, data: bytes) -> None:
        owner = self.owner
        if not owner.length.add(len(data)):
            raise failed(owner.cut())
        try:
            self.body.try_write(data)
        except BodyClosed:
            if owner.length.applies is not False:
                raise closed() from None

    def _discardable(self) -> int:
        """Return how much more of a response without content may be written. No one reads it.

        For many guests, a closed stream would be a failure.
        """
        length = self.owner.length
        return max(0, DISCARDED - length.written) if length.applies is False else 0

    async def _wait(self) -> None:
        await self.body.wait_permit()

    def on_drop(self) -> None:
        self.owner.stream_alive = False
