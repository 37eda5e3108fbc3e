"""The server's side of HTTP/1 (RFC 9112), without I/O: from bytes to heads and content, and the reverse.

Receiving and sending have a state each. ``_RECEIVING`` and ``_SENDING`` define all transitions.
"""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus

from wasi_trio.serve.http._framing import ChunkedContent, Content, SizedContent
from wasi_trio.serve.http._heads import BadRequest, Http1Head, read_head
from wasi_trio.serve.http._stream import ResponseHead
from wasi_trio.wasi.http._body import Piece, Trailers


class Receiving(IntEnum):
    """The next element to receive."""

    HEAD = 0
    CONTENT = 1
    #: None until the next request: this one is complete.
    DONE = 2
    #: None until the end of the connection.
    CLOSED = 3


class Sending(IntEnum):
    """The next element to send."""

    #: None until a request arrives.
    NOTHING = 0
    HEAD = 1
    CONTENT = 2
    #: None until the next request: the response is complete.
    DONE = 3
    #: None until the end of the connection.
    CLOSED = 4


class Event(IntEnum):
    """An event that changes the states."""

    REQUEST = 0
    REQUEST_WITH_CONTENT = 1
    CONTENT_END = 2
    RESPONSE_HEAD = 3
    RESPONSE_END = 4
    NEXT = 5
    #: No further request: the client ended its side or broke the protocol, or the server closes.
    NO_MORE = 6
    #: The connection is cut.
    ABORT = 7


class Framing(IntEnum):
    """The framing of a response's content."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    #: The content ends with the connection.
    CLOSE = 3


_RECEIVING: dict[tuple[Receiving, Event], Receiving] = {
    (Receiving.HEAD, Event.REQUEST): Receiving.DONE,
    (Receiving.HEAD, Event.REQUEST_WITH_CONTENT): Receiving.CONTENT,
    (Receiving.CONTENT, Event.CONTENT_END): Receiving.DONE,
    (Receiving.CONTENT, Event.RESPONSE_HEAD): Receiving.CONTENT,
    (Receiving.CONTENT, Event.RESPONSE_END): Receiving.CONTENT,
    (Receiving.DONE, Event.RESPONSE_HEAD): Receiving.DONE,
    (Receiving.DONE, Event.RESPONSE_END): Receiving.DONE,
    (Receiving.CLOSED, Event.RESPONSE_HEAD): Receiving.CLOSED,
    (Receiving.CLOSED, Event.RESPONSE_END): Receiving.CLOSED,
    (Receiving.DONE, Event.NEXT): Receiving.HEAD,
    **{(state, event): Receiving.CLOSED for state in Receiving for event in (Event.NO_MORE, Event.ABORT)},
}
_SENDING: dict[tuple[Sending, Event], Sending] = {
    (Sending.NOTHING, Event.REQUEST): Sending.HEAD,
    (Sending.NOTHING, Event.REQUEST_WITH_CONTENT): Sending.HEAD,
    # A malformed request receives a response as well.
    (Sending.NOTHING, Event.RESPONSE_HEAD): Sending.CONTENT,
    (Sending.HEAD, Event.RESPONSE_HEAD): Sending.CONTENT,
    (Sending.CONTENT, Event.RESPONSE_END): Sending.DONE,
    (Sending.DONE, Event.NEXT): Sending.NOTHING,
    **{(state, Event.CONTENT_END): state for state in Sending},
    **{(state, Event.NO_MORE): state for state in Sending},
    **{(state, Event.ABORT): Sending.CLOSED for state in Sending},
}

#: The maximum content to read after an early response, in bytes. With more content left, the connection is closed.
MAX_DRAINED = 64 << 10

#: The maximum length of a method.
_MAX_METHOD = 64

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: The status lines of all statuses with a reason phrase.
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
#: The first bytes of a client that speaks HTTP/2 with prior knowledge.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def _without_empty_lines(data: bytes) -> bytes:
    """Return ``data`` without the empty lines before a request line (RFC 9112, section 2.2)."""
    rest = data.lstrip(b"\r\n")
    lines = (len(data) - len(rest)) // 2
    return data[2 * lines :] if data.startswith(b"\r\n" * lines) else data


class Http1Protocol:
    """The state of one connection. It keeps received bytes until they are taken, so the caller must bound them.

    ``close`` says whether the connection ends with the response. The client, the protocol or the caller sets it. After
    the head of a response the server can no longer announce it.
    """

    __slots__ = (
        "_buffer",
        "_framing",
        "_is_new",
        "_max_head",
        "_scanned",
        "close",
        "content",
        "head",
        "receiving",
        "sending",
        "sent_continue",
    )

    def __init__(self, max_head: int) -> None:
        self._max_head = max_head
        self._buffer = b""
        #: Whether no head has arrived yet.
        self._is_new = True
        #: The number of bytes of the buffer that contain no end of a head.
        self._scanned = 0
        self._framing = Framing.NONE
        self.receiving = Receiving.HEAD
        self.sending = Sending.NOTHING
        self.close = False
        #: The head of the active request.
        self.head: Http1Head | None = None
        self.content: Content | None = None
        self.sent_continue = False

    def _move(self, event: Event) -> None:
        """Apply an event. An event that the state does not allow is a mistake of the caller."""
        self.receiving, self.sending = _RECEIVING[self.receiving, event], _SENDING[self.sending, event]

    # ---- receiving ---------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer = self._buffer + data if self._buffer else data

    @property
    def buffered(self) -> int:
        """The number of received bytes that were not parsed yet."""
        return len(self._buffer)

    @property
    def is_preface(self) -> bool:
        """Whether the client begins the connection with the preface of HTTP/2."""
        return self._is_new and self._buffer.startswith(PREFACE)

    def take_rest(self) -> bytes:
        """Return the received bytes that were not parsed."""
        rest, self._buffer = self._buffer, b""
        return rest

    @property
    def begun(self) -> bool:
        """Whether part of a head has arrived, but not all of it."""
        return self.receiving is Receiving.HEAD and bool(self._buffer)

    @property
    def method(self) -> str:
        """The method of the active request, or of an incomplete head. Empty without either."""
        if self.head is not None:
            return self.head.method
        return self._buffer[:_MAX_METHOD].partition(b" ")[0].decode("latin-1")

    def next_head(self) -> Http1Head | None:
        """Return the next request's head once it is complete. The caller must take its content before the next head.

        Raise BadRequest for a malformed head. The caller answers with an error and reads nothing more.
        """
        buffer = self._buffer
        if buffer.startswith(b"\r"):
            buffer = self._buffer = _without_empty_lines(buffer)
        if not buffer or buffer == b"\r" or (buffer.startswith(b"PRI") and PREFACE.startswith(buffer)):
            return None
        end = buffer.find(b"\r\n\r\n", max(self._scanned - 3, 0))
        if end < 0 or end + 4 > self._max_head:
            if len(buffer) < self._max_head:
                if b"\n\n" in buffer or b"\n\r\n" in buffer:
                    raise BadRequest("a head whose lines do not end in CRLF")
                self._scanned = len(buffer)
                return None
            if b"\r\n" not in buffer[: self._max_head]:
                raise BadRequest(f"the request line is longer than {self._max_head} bytes", 414)
            raise BadRequest(f"the head is larger than {self._max_head} bytes", 431)
        self._scanned = 0
        self._is_new = False
        head = self.head = read_head(buffer[: end + 4])
        self._buffer = buffer[end + 4 :]
        self.sent_continue = False
        self.close = self.close or not head.keep_alive
        if head.length == 0:
            self.content = None
            self._move(Event.REQUEST)
        else:
            self.content = ChunkedContent(self._max_head) if head.length is None else SizedContent(head.length)
            self._move(Event.REQUEST_WITH_CONTENT)
        return head

    def take_content(self) -> list[Piece]:
        """Return the available content. ``receiving`` shows its end. Raise BadRequest.

        If it returns pieces and ``buffered`` bytes remain, the next call may return more.
        """
        assert self.content is not None
        pieces, self._buffer = self.content.decode(self._buffer)
        if self.content.complete:
            self._move(Event.CONTENT_END)
        return pieces

    def receive_end(self) -> None:
        """Handle the end of the client's side, or stop reading from it."""
        self._move(Event.NO_MORE)
        self._buffer = b""
        self.close = True

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client waits for 100 Continue (RFC 9110, section 10.1.1)."""
        return (
            self.receiving is Receiving.CONTENT
            and self.sending is Sending.HEAD
            and not self.sent_continue
            and self.head is not None
            and self.head.expects_continue
            and not self._buffer
        )

    def next_cycle(self) -> bool:
        """Begin the next request if both messages have ended and the connection stays open. Return whether it does."""
        if self.close or self.receiving is not Receiving.DONE or self.sending is not Sending.DONE:
            return False
        self._move(Event.NEXT)
        self.head = self.content = None
        return True

    # ---- sending -----------------------------------------------------------------------------------------

    def start(self, response: ResponseHead, unread: bool) -> bytes:
        """Return the head of a response.

        ``unread`` says that the guest does not read the rest of the request. If the rest is long, or of unknown length,
        the head announces the end of the connection.
        """
        head = self.head
        minor_version = 1 if head is None else head.minor_version
        lines = [_STATUS_LINES.get(response.status) or b"HTTP/1.1 %d \r\n" % response.status]
        lines += [b"%b: %b\r\n" % header for header in response.headers]
        if response.bodiless:
            self._framing = Framing.NONE
        elif response.length is not None:
            self._framing = Framing.LENGTH
        elif minor_version:
            self._framing = Framing.CHUNKED
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self._framing = Framing.CLOSE
            self.close = True
        if unread and self.receiving is Receiving.CONTENT and not self.is_drainable:
            self.close = True
        if self.close:
            lines.append(b"connection: close\r\n")
        elif not minor_version:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._move(Event.RESPONSE_HEAD)
        return b"".join(lines)

    @property
    def is_drainable(self) -> bool:
        """Whether the rest of the content is certain to arrive, and short."""
        assert self.content is not None
        left = self.content.left
        if self.head is not None and self.head.expects_continue and not self.sent_continue and not self._buffer:
            return False
        return left is not None and left <= MAX_DRAINED

    def frame(self, pieces: list[Piece]) -> list[Piece]:
        """Frame content of the response."""
        if self._framing is Framing.NONE:
            return []
        if self._framing is not Framing.CHUNKED:
            return pieces
        size = sum(map(len, pieces))
        # An empty chunk would end the content.
        return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []

    def finish(self, trailers: Trailers | None) -> bytes:
        """Return the bytes that end the response."""
        self._move(Event.RESPONSE_END)
        if self._framing is not Framing.CHUNKED:
            return b""
        if not trailers:
            return b"0\r\n\r\n"
        lines = [b"%b: %b\r\n" % (name.encode("latin-1"), value) for name, value in trailers]
        return b"0\r\n%b\r\n" % b"".join(lines)

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection marks the end of the current response."""
        return self._framing is Framing.CLOSE

    def abort(self) -> None:
        """Cut the connection."""
        self._move(Event.ABORT)
        self._buffer = b""
        self.close = True
