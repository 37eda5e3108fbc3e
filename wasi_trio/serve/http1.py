"""The server's side of HTTP/1.1: h11's, but for content, of which h11 would make three copies.

h11 sees heads, trailers and all of short requests; longer content is taken from between as it was received.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import h11

from wasi_trio.serve.framing import ChunkedContent, Content, SizedContent
from wasi_trio.wasi.http.body import Piece, Trailers

if TYPE_CHECKING:
    from wasi_trio.serve.upload import Upload

#: what hypercorn asks a connection for
Received: TypeAlias = "h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]"

#: where h11 takes a head, or trailers, to end
_BLANK_LINE = re.compile(rb"\n\r?\n")


class Http1Connection:
    """Stands in for the ``h11.Connection`` of hypercorn's protocol, as far as that uses one.

    ``request_trailers`` are there once the end of the request was read. What ``response_trailers`` is set to goes out
    with the end of the response, whose content must be chunked. Both are those of one request at a time.
    """

    def __init__(self, max_incomplete_event_size: int) -> None:
        self._limit = max_incomplete_event_size
        self._h11 = self._new()
        #: received, and neither given to h11 nor taken as content
        self._data = b""
        #: the last of what h11 was given of a head, of which the end was not there
        self._tail = b""
        self._eof = False
        self._eof_told = False
        #: how the rest of the content that is being received is framed
        self.content: Content | None = None
        #: all of a request's content was received, of which h11 does not know
        self._complete = False
        #: the framing of content was wrong
        self._failed = False
        #: h11 is given all that is received until the next request
        self._native = False
        self.request_trailers: Trailers | None = None
        self.response_trailers: Trailers | None = None
        #: pieces of content that ``next_event`` has given, of this request
        self.pieces = 0
        #: what takes the content of this request, once there is something that does
        self.upload: Upload | None = None

    def _new(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._limit)

    # ---- what hypercorn knows of a connection ------------------------------------------------------------

    @property
    def our_state(self) -> Any:
        return self._h11.our_state

    @property
    def their_state(self) -> Any:
        if self._failed:
            return h11.ERROR
        return h11.DONE if self._complete else self._h11.their_state

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        return self._h11.they_are_waiting_for_100_continue

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        return self._h11.trailing_data[0] + self._data, self._eof

    def receive_data(self, data: bytes) -> None:
        if data:
            self._data = self._data + data if self._data else data
        else:
            self._eof = True

    def next_event(self) -> Received:
        if self.content is not None:
            event = self._next_content(self.content)
            if event is not None:
                return event
        if self._complete:
            if self._data:
                return h11.PAUSED
            return h11.ConnectionClosed() if self._eof else h11.NEED_DATA
        event = self._next_of_h11()
        if isinstance(event, h11.Request):
            self.request_trailers = self.response_trailers = None
            self.pieces = 0
            self.upload = None
            self._native = False
            self._begin_content(event)
        elif isinstance(event, h11.EndOfMessage) and event.headers:
            self.request_trailers = [(name.decode("latin-1"), value) for name, value in event.headers]
        elif isinstance(event, h11.Data):
            self.pieces += 1
        return event

    def send(self, event: h11.Event) -> bytes | None:
        if self.response_trailers and isinstance(event, h11.EndOfMessage):
            headers = [(name.encode("latin-1"), value) for name, value in self.response_trailers]
            event = h11.EndOfMessage(headers=headers)
        return self._h11.send(event)

    def send_content(self, pieces: list[Piece]) -> list[Piece]:
        """Content of the response, framed. Raises h11.LocalProtocolError where there can be none, or not so much."""
        content = _Content(sum(map(len, pieces)))
        sent: list[Any] | None = self._h11.send_with_data_passthrough(h11.Data(data=content))  # type: ignore[arg-type]
        assert sent is not None
        framed: list[Piece] = []
        for part in sent:
            if part is content:
                framed += pieces
            else:
                framed.append(part)
        return framed

    def start_next_cycle(self) -> None:
        if self._complete:
            self._h11 = self._new()
            self._complete = self._eof_told = False
        else:
            self._h11.start_next_cycle()

    # ---- receiving ---------------------------------------------------------------------------------------

    def _next_of_h11(self) -> Received:
        """h11's next event, for which it is given no more than it needs."""
        connection = self._h11
        if self._data and connection.their_state is h11.IDLE:
            connection.receive_data(self._next_section())
        while True:
            event: Received = connection.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._data:
                if connection.their_state is h11.DONE:
                    return h11.PAUSED
                connection.receive_data(self._next_section())
            elif self._eof and not self._eof_told:
                self._eof_told = True
                connection.receive_data(b"")
            else:
                return event

    def _next_section(self) -> bytes:
        """What was received, up to the end of the head or the trailers that it is part of."""
        if self._native:
            section, self._data = self._data, b""
            return section
        # No more than h11 takes: it would do so of a head of any size that came in one piece.
        most = min(len(self._data), self._limit + 1)
        data = self._tail + self._data[:most]
        end = _BLANK_LINE.search(data)
        cut = most if end is None else end.end() - len(self._tail)
        section, self._data = self._data[:cut], self._data[cut:]
        self._tail = data[-2:] if end is None else b""
        return section

    def _begin_content(self, request: h11.Request) -> None:
        """Take the content of a request from h11, unless it is there already, or other than content may follow."""
        length = 0
        chunked = unusual = False
        for name, value in request.headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"upgrade":
                unusual = True
        if not chunked and not length:
            return
        if unusual or request.method == b"CONNECT" or self._h11.trailing_data[0]:
            self._native = True
        elif chunked:
            self.content = ChunkedContent()
        elif length > len(self._data):
            self.content = SizedContent(length)
        else:
            self._h11.receive_data(self._data[:length])
            self._data = self._data[length:]

    def _next_content(self, content: Content) -> Received | None:
        """The content that was received; None where it has ended, and h11 is to say so."""
        if self._data and not content.complete and not content.error:
            pieces, self._data = content.decode(self._data)
            piece = b"".join(pieces)
            if piece:
                self.pieces += 1
                return h11.Data(data=piece)
        if content.error:
            return self._fail(content.error)
        if content.complete:
            self.content = None
            if isinstance(content, SizedContent):
                self._complete = True
                return h11.EndOfMessage()
            return None
        if self._eof:
            return self._fail("the client closed the connection in the middle of a request's content")
        return h11.NEED_DATA

    def _fail(self, reason: str) -> NoReturn:
        self._failed = True
        raise h11.RemoteProtocolError(reason)

    @property
    def undecoded(self) -> bool:
        """Whether something of what was received has yet to be looked at, or to be completed."""
        return bool(self._data)

    def split(self, data: bytes) -> tuple[list[Piece], bytes | None]:
        """What of ``data``, just received, is content, and what else is in it that ``receive_data`` is to be given.

        More content follows as long as the second is None: first what is ``undecoded``, which ``split`` tells of when
        it is called again without data. To be called only while there is ``content``.
        """
        content = self.content
        assert content is not None
        if self._data:
            data, self._data = self._data + data, b""
        if content.may_end_in(data):
            return [], data
        pieces, rest = content.decode(data)
        if content.complete or content.error:
            return pieces, rest
        self._data = rest
        return pieces, None


class _Content:
    """What h11 is given for content, of which it asks only the length and which it passes through."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length
