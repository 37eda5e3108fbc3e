"""HTTP/1 parsing compared with h11, which must agree, and HTTP/1 output."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_trio.serve.http import _http1_protocol as http1_protocol
from wasi_trio.serve.http._heads import BadRequest
from wasi_trio.serve.http._http1_protocol import (
    MAX_DRAINED,
    PREFACE,
    Event,
    Http1Protocol,
    Receiving,
    Sending,
)
from wasi_trio.serve.http._stream import ResponseHead

LIMIT = 16 << 10
BROKEN = "broken"
CLOSED = "closed"


class Message(NamedTuple):
    method: bytes
    content: bytes
    #: None if the end did not arrive.
    trailers: list[tuple[bytes, bytes]] | None


class Reader:
    """Reads requests, and answers each at its end."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.outcome: str | None = None

    def read(self, pieces: Iterable[bytes]) -> list[Message]:
        for piece in [*pieces, b""]:
            if self.outcome is None:
                self.receive(piece)
        return self.messages

    def receive(self, data: bytes) -> None:
        raise NotImplementedError

    def begin(self, method: bytes) -> None:
        self.messages.append(Message(method, b"", None))

    def add(self, content: bytes) -> None:
        method, before, _ = self.messages.pop()
        self.messages.append(Message(method, before + content, None))

    def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.messages.append(self.messages.pop()._replace(trailers=trailers))


class Theirs(Reader):
    def __init__(self) -> None:
        super().__init__()
        self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)

    def receive(self, data: bytes) -> None:
        connection = self.connection
        connection.receive_data(data)
        while self.outcome is None:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                self.outcome = BROKEN
                return
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.ConnectionClosed):
                self.outcome = CLOSED
            elif isinstance(event, h11.Request):
                self.begin(event.method)
            elif isinstance(event, h11.Data):
                self.add(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.end(list(event.headers))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    self.outcome = CLOSED
                else:
                    connection.start_next_cycle()


class Ours(Reader):
    def __init__(self) -> None:
        super().__init__()
        self.protocol = Http1Protocol(LIMIT)
        self.error: BadRequest | None = None
        self.received = b""
        #: Whether an empty line came before a request, which h11 does not accept.
        self.skipped_a_line = False

    def receive(self, data: bytes) -> None:
        try:
            self.take(data)
        except BadRequest as error:
            self.error = error
            self.outcome = BROKEN

    def take(self, data: bytes) -> None:
        protocol = self.protocol
        self.received += data
        protocol.receive(data)
        while self.outcome is None:
            if protocol.receiving is Receiving.HEAD:
                start = len(self.received) - protocol.buffered
                self.skipped_a_line = self.skipped_a_line or self.received.startswith(b"\r\n", start)
                head = protocol.next_head()
                if head is None:
                    break
                self.begin(head.method.encode())
            elif protocol.receiving is Receiving.CONTENT:
                pieces = protocol.take_content()
                self.add(b"".join(pieces))
                if not any(pieces) and protocol.receiving is Receiving.CONTENT:
                    break
            else:
                trailers = protocol.content and protocol.content.trailers
                self.end([(name.encode(), value) for name, value in trailers or []])
                answer(protocol)
                if not protocol.next_cycle():
                    self.outcome = CLOSED
        if not data and self.outcome is None:
            whole = protocol.receiving is Receiving.HEAD and not protocol.begun
            self.outcome = CLOSED if whole else BROKEN


def answer(protocol: Http1Protocol) -> bytes:
    """Send an empty response, and return its bytes."""
    return protocol.start(ResponseHead(200, [(b"content-length", b"0")], 0), unread=True) + protocol.finish(None)


@st.composite
def requests(draw: st.DrawFn, extensions: bool = True) -> bytes:
    """Return the bytes of a request."""
    content = draw(
        st.binary(max_size=40) | st.sampled_from([b"\n\n\n\n", b"0\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"])
    )
    kind = draw(st.sampled_from(["none", "length", "chunks"]))
    if kind == "none":
        return b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    if kind == "length":
        return b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)
    sent = b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    while content:
        size = draw(st.integers(1, len(content)))
        extension = draw(st.sampled_from([b"", b" ", b";a", b';a="b c"'])) if extensions else b""
        sent += b"%x%b\r\n%b\r\n" % (size, extension, content[:size])
        content = content[size:]
    trailers = draw(st.sampled_from([b"", b"x-a: 1\r\n", b"x-a: 1\r\nx-b: 2\r\n"]))
    return sent + draw(st.sampled_from([b"0", b"000"])) + b"\r\n" + trailers + b"\r\n"


@st.composite
def cut(draw: st.DrawFn, sent: bytes) -> list[bytes]:
    """Return data in the pieces in which it arrives."""
    pieces = []
    while sent:
        size = draw(st.integers(1, len(sent)) | st.integers(1, min(3, len(sent))))
        pieces.append(sent[:size])
        sent = sent[size:]
    return pieces


@given(st.lists(requests(), max_size=4).map(b"".join), st.data())
def test_requests_are_read_as_h11_reads_them(sent: bytes, data: st.DataObject) -> None:
    expected, reader = Theirs(), Ours()
    expected.read([sent])
    assert reader.read(data.draw(cut(sent))) == expected.messages
    assert reader.outcome == expected.outcome == CLOSED


@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join), st.data())
def test_a_client_that_leaves_at_any_byte(sent: bytes, data: st.DataObject) -> None:
    pieces = data.draw(cut(sent[: data.draw(st.integers(0, len(sent)))]))
    expected, reader = Theirs(), Ours()
    expected.read(pieces)
    assert reader.read(pieces) == expected.messages
    assert reader.outcome == expected.outcome


#: The errors for input that h11 accepts and this server does not.
STRICTER = re.compile(
    r"a malformed request target|only HTTP/1 and HTTP/2 are supported|transfer-encoding in HTTP/1\.0"
    r"|a head whose lines do not end in CRLF"
)


def lone_line_feeds(data: bytes) -> int:
    return len(re.findall(rb"(?<!\r)\n", data))


@given(st.lists(requests(extensions=False), min_size=1, max_size=3).map(b"".join), st.data())
def test_everything_that_h11_refuses_is_refused(sent: bytes, data: st.DataObject) -> None:
    """The exception is an empty line before a request, which a server should skip (RFC 9112, section 2.2)."""
    place = data.draw(st.integers(0, len(sent) - 1))
    broken = sent[:place] + data.draw(st.sampled_from([b"", b"\r", b"\n", b"0", b"z", b"\x00"])) + sent[place + 1 :]
    pieces = data.draw(cut(broken))
    expected, reader = Theirs(), Ours()
    expected.read(pieces)
    reader.read(pieces)
    if expected.outcome == BROKEN:
        assert reader.outcome == BROKEN or reader.skipped_a_line
    elif reader.outcome == BROKEN:
        assert STRICTER.match(str(reader.error)) or lone_line_feeds(broken) > lone_line_feeds(sent)
    else:
        assert reader.messages == expected.messages


CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
SIZED = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"z\r\n",
        b"-1\r\n",
        b"\r\n",
        b"5",
        b"5\r\nabcdefg\r\n",
        b"5\r\nabcdeX",
        b"5\r\nabcde\rX",
        b"5\r\nabcde\n0\r\n\r\n",
        b"5\nabcde\r\n0\r\n\r\n",
        b"%b\r\n" % (b"1" * 17),
        b"5;%b\r\nabcde\r\n0\r\n\r\n" % (b"x" * 300),
        b"5;" + b"x" * 600,
        b"0\r\nx-a\r\n\r\n",
        b"0\r\nx-a: 1\x00\r\n\r\n",
        b"0\r\nx-a: 1\n\n",
    ],
)
def test_malformed_chunks(sent: bytes) -> None:
    reader = Ours()
    reader.read([CHUNKED, sent])
    assert reader.outcome == BROKEN


@pytest.mark.parametrize("sent", [b"5;" + b"x" * 600, b"5\r\nabcdeX", b"0\r\nx-a: %b" % (b"y" * 2 * LIMIT)])
def test_errors_are_found_before_the_client_ends(sent: bytes) -> None:
    reader = Ours()
    reader.receive(CHUNKED)
    reader.receive(sent)
    assert reader.outcome == BROKEN


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nhost: a\r\n", CHUNKED + b"0\r\n"])
@pytest.mark.parametrize("ends", [True, False])
def test_heads_and_trailers_that_are_too_long(sent: bytes, ends: bool) -> None:
    reader = Ours()
    reader.receive(sent + b"x-a: %b" % (b"y" * 3 * LIMIT) + b"\r\n\r\n" * ends)
    assert reader.error is not None
    assert reader.error.status == 431


def test_many_small_chunks_are_decoded_in_parts() -> None:
    protocol = Http1Protocol(LIMIT)
    protocol.receive(CHUNKED + b"1\r\nx\r\n" * 1000)
    protocol.next_head()
    pieces = protocol.take_content()
    assert pieces == [b"x" * 256]
    total = 0
    while pieces:
        total += sum(map(len, pieces))
        pieces = protocol.take_content()
    assert total == 1000


def test_large_pieces_of_content_are_not_copied() -> None:
    protocol = Http1Protocol(LIMIT)
    protocol.receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")
    protocol.next_head()
    content = bytes(50_000)
    protocol.receive(content)
    (piece,) = protocol.take_content()
    assert piece is content


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\nhost: a\n\n",
        b"GET / HTTP/1.1\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\nx-b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n\n",
    ],
)
def test_lines_that_do_not_end_in_crlf(sent: bytes) -> None:
    """h11 accepts them, as RFC 9112, section 2.2 allows. But different parsers may then see different requests."""
    theirs, ours = Theirs(), Ours()
    theirs.receive(sent)
    assert theirs.outcome is None
    assert len(theirs.messages) == 1
    ours.receive(sent)
    assert ours.outcome == BROKEN
    assert ours.error is not None
    assert ours.messages == []


def test_an_empty_line_before_a_request() -> None:
    reader = Ours()
    assert len(reader.read([SIZED + b"abcd\r\n", GET, b"\r\n" + GET])) == 3
    assert reader.outcome == CLOSED


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n", 501),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a b\r\n", 400),
        (b"GET / HTTP/2.0\r\nhost: a\r\n", 505),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx-a : b\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nexpect: wonders\r\n", 417),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n", 501),
        (b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n", 400),
    ],
)
def test_refused_heads(head: bytes, status: int) -> None:
    reader = Ours()
    reader.receive(head + b"\r\n")
    assert reader.error is not None
    assert reader.error.status == status
    assert "\n" not in str(reader.error)


@pytest.mark.parametrize(
    "kind", [b"content-length: 4\r\n\r\nabcd", b"transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"]
)
def test_an_upgrade_request_is_an_ordinary_request(kind: bytes) -> None:
    reader = Ours()
    reader.read([b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n%b" % kind + GET])
    assert reader.messages == [(b"POST", b"abcd", []), (b"GET", b"", [])]


def test_the_next_request_waits_for_the_response() -> None:
    protocol = Http1Protocol(LIMIT)
    protocol.receive(SIZED)
    assert protocol.next_head() is not None
    assert b"".join(protocol.take_content()) == b""
    protocol.receive(b"abcd" + GET)
    assert protocol.take_content() == [b"abcd"]
    assert protocol.receiving is Receiving.DONE
    assert protocol.buffered == len(GET)
    assert not protocol.next_cycle()
    with pytest.raises(KeyError):
        protocol.next_head()
    protocol = Http1Protocol(LIMIT)
    protocol.receive(SIZED + b"abcd" + GET)
    protocol.next_head()
    protocol.take_content()
    answer(protocol)
    assert protocol.next_cycle()
    head = protocol.next_head()
    assert head is not None
    assert head.method == "GET"


@pytest.mark.parametrize(
    ("head", "kept", "says"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\n", True, b""),
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: x, Close\r\n", False, b"connection: close\r\n"),
        (b"GET / HTTP/1.0\r\n", False, b"connection: close\r\n"),
        (b"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n", True, b"connection: keep-alive\r\n"),
    ],
)
def test_kept_and_closed_connections(head: bytes, kept: bool, says: bytes) -> None:
    protocol = Http1Protocol(LIMIT)
    protocol.receive(head + b"\r\n")
    protocol.next_head()
    assert answer(protocol) == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + says + b"\r\n"
    assert protocol.next_cycle() is kept


@pytest.mark.parametrize(("length", "kept"), [(MAX_DRAINED, True), (MAX_DRAINED + 1, False)])
def test_a_connection_with_much_unwanted_content_is_closed(length: int, kept: bool) -> None:
    protocol = Http1Protocol(LIMIT)
    protocol.receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % length)
    protocol.next_head()
    assert (b"connection: close" not in answer(protocol)) is kept
    assert protocol.close is not kept


def test_a_client_that_expects_100_continue() -> None:
    protocol = Http1Protocol(LIMIT)
    head = SIZED.replace(b"host: a", b"host: a\r\nexpect: 100-Continue")
    protocol.receive(head)
    protocol.next_head()
    assert protocol.waits_for_continue
    protocol.sent_continue = True
    assert not protocol.waits_for_continue
    protocol = Http1Protocol(LIMIT)
    protocol.receive(head)
    protocol.next_head()
    # The client may never send the content after the response, so the start of its next request would be unknown.
    assert b"connection: close" in answer(protocol)


def test_the_preface_of_http2() -> None:
    for size in range(1, len(PREFACE)):
        protocol = Http1Protocol(LIMIT)
        protocol.receive(PREFACE[:size])
        assert protocol.next_head() is None
        assert not protocol.is_preface
        protocol.receive(PREFACE[size:] + b"more")
        assert protocol.is_preface
        assert protocol.take_rest() == PREFACE + b"more"


# ---- responses -----------------------------------------------------------------------------------------------


def asked(head: bytes = GET) -> Http1Protocol:
    protocol = Http1Protocol(LIMIT)
    protocol.receive(head)
    assert protocol.next_head() is not None
    return protocol


def test_content_of_a_response_is_framed_and_not_copied() -> None:
    protocol = asked()
    assert b"transfer-encoding: chunked\r\n" in protocol.start(ResponseHead(200, []), unread=False)
    one, two = b"abc", memoryview(b"defgh")
    framed = protocol.frame([one, two])
    assert b"".join(framed) == b"8\r\nabcdefgh\r\n"
    assert framed[1] is one
    assert framed[2] is two
    assert protocol.frame([b""]) == []
    assert protocol.finish([("x-t", b"1")]) == b"0\r\nx-t: 1\r\n\r\n"
    assert protocol.next_cycle()


def test_content_with_a_length() -> None:
    protocol = asked()
    start = protocol.start(ResponseHead(200, [(b"content-length", b"2")], 2), unread=False)
    assert start == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    assert protocol.frame([b"ab"]) == [b"ab"]
    assert protocol.finish([("x-t", b"1")]) == b""


def test_a_response_without_content() -> None:
    protocol = asked()
    assert protocol.start(ResponseHead(299, [], bodiless=True), unread=False) == b"HTTP/1.1 299 \r\n\r\n"
    assert protocol.frame([b"ab"]) == []
    assert protocol.finish(None) == b""


def test_content_that_ends_with_the_connection() -> None:
    protocol = asked(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    assert protocol.start(ResponseHead(200, []), unread=False) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    assert protocol.frame([b"ab"]) == [b"ab"]
    assert protocol.ends_with_connection
    assert protocol.finish(None) == b""
    assert not protocol.next_cycle()


# ---- states --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("receiving", Receiving)
@pytest.mark.parametrize("sending", Sending)
def test_every_event_moves_every_state_or_is_refused(receiving: Receiving, sending: Sending) -> None:
    for event in Event:
        protocol = Http1Protocol(LIMIT)
        protocol.receiving, protocol.sending = receiving, sending
        to_receiving = http1_protocol._RECEIVING.get((receiving, event))
        to_sending = http1_protocol._SENDING.get((sending, event))
        if to_receiving is None or to_sending is None:
            with pytest.raises(KeyError):
                protocol._move(event)
            assert (protocol.receiving, protocol.sending) == (receiving, sending)
        else:
            protocol._move(event)
            assert (protocol.receiving, protocol.sending) == (to_receiving, to_sending)


def test_the_reachable_states_of_a_connection() -> None:
    reached = {(Receiving.HEAD, Sending.NOTHING)}
    left = list(reached)
    while left:
        receiving, sending = left.pop()
        for event in Event:
            try:
                found = http1_protocol._RECEIVING[receiving, event], http1_protocol._SENDING[sending, event]
            except KeyError:
                continue
            if found not in reached:
                reached.add(found)
                left.append(found)
    during = set(product([Receiving.CONTENT, Receiving.DONE], [Sending.HEAD, Sending.CONTENT, Sending.DONE]))
    after = set(product([Receiving.CLOSED], Sending))
    assert reached == {(Receiving.HEAD, Sending.NOTHING)} | during | after
