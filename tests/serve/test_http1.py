"""HTTP/1.1 as the server reads it, beside h11, which has to read the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_trio.serve.http1 import Http1Connection

LIMIT = 16 << 10
BROKEN = "broken"
CLOSED = "closed"


class Message(NamedTuple):
    method: bytes
    content: bytes
    #: None where the end did not come
    trailers: list[tuple[bytes, bytes]] | None


def ours() -> Http1Connection:
    return Http1Connection(LIMIT)


def theirs() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)


class Reader:
    """Reads requests, and answers each at its end, as hypercorn's protocol has it.

    ``direct`` says, of each piece in turn, whether its content is taken past the events if it can be.
    """

    def __init__(self, connection: Any, direct: Iterable[bool] = ()) -> None:
        self.connection = connection
        self.direct = iter(direct)
        self.messages: list[Message] = []
        self.outcome: str | None = None

    def read(self, pieces: Iterable[bytes]) -> list[Message]:
        for piece in [*pieces, b""]:
            if self.outcome is None:
                self.receive(piece)
        return self.messages

    def receive(self, data: bytes) -> None:
        connection = self.connection
        if data and next(self.direct, False) and connection.content is not None:
            while True:
                content, rest = connection.split(data)
                self.add(b"".join(content))
                if rest is not None:
                    connection.receive_data(rest)
                    break
                if not content or not connection.undecoded:
                    return
                data = b""
        else:
            connection.receive_data(data)
        self.take_events()

    def take_events(self) -> None:
        connection = self.connection
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                self.outcome = BROKEN
                assert connection.their_state is h11.ERROR
                return
            if event is h11.NEED_DATA:
                return
            assert event is not h11.PAUSED
            if isinstance(event, h11.ConnectionClosed):
                self.outcome = CLOSED
                return
            if isinstance(event, h11.Request):
                self.messages.append(Message(event.method, b"", None))
            elif isinstance(event, h11.Data):
                self.add(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                method, content, _ = self.messages.pop()
                self.messages.append(Message(method, content, list(event.headers)))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    self.outcome = CLOSED
                    return
                assert (connection.our_state, connection.their_state) == (h11.DONE, h11.DONE)
                connection.start_next_cycle()

    def add(self, content: bytes) -> None:
        if content:
            method, before, _ = self.messages.pop()
            self.messages.append(Message(method, before + content, None))


@st.composite
def requests(draw: st.DrawFn, extensions: bool = True) -> bytes:
    """A request as it is sent."""
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
    """What was sent, in the pieces it arrives in."""
    pieces = []
    while sent:
        size = draw(st.integers(1, len(sent)) | st.integers(1, min(3, len(sent))))
        pieces.append(sent[:size])
        sent = sent[size:]
    return pieces


@given(st.lists(requests(), max_size=4).map(b"".join), st.data())
def test_requests_are_read_as_h11_reads_them(sent: bytes, data: st.DataObject) -> None:
    pieces = data.draw(cut(sent))
    expected = Reader(theirs())
    expected.read([sent])
    for direct in ([], [True] * len(pieces), data.draw(st.lists(st.booleans()))):
        reader = Reader(ours(), direct)
        assert reader.read(pieces) == expected.messages
        assert reader.outcome == expected.outcome == CLOSED


@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join), st.data())
def test_a_client_that_leaves_anywhere(sent: bytes, data: st.DataObject) -> None:
    pieces = data.draw(cut(sent[: data.draw(st.integers(0, len(sent)))]))
    expected = Reader(theirs())
    expected.read(pieces)
    for direct in ([], [True] * len(pieces)):
        reader = Reader(ours(), direct)
        assert reader.read(pieces) == expected.messages
        assert reader.outcome == expected.outcome


@given(st.lists(requests(extensions=False), min_size=1, max_size=3).map(b"".join), st.data())
def test_what_h11_takes_for_broken_is_broken(sent: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(sent) - 1))
    broken = sent[:place] + data.draw(st.sampled_from([b"", b"\r", b"\n", b"0", b"z", b"\x00"])) + sent[place + 1 :]
    pieces = data.draw(cut(broken))
    expected = Reader(theirs())
    expected.read(pieces)
    for direct in ([], [True] * len(pieces)):
        reader = Reader(ours(), direct)
        reader.read(pieces)
        assert reader.outcome == expected.outcome
        if expected.outcome == CLOSED:
            assert reader.messages == expected.messages


CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("direct", [False, True])
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
    ],
)
def test_chunks_that_are_none(sent: bytes, direct: bool) -> None:
    reader = Reader(ours(), [direct] * 100)
    reader.read([CHUNKED, sent])
    assert reader.outcome == BROKEN


@pytest.mark.parametrize("sent", [b"5;" + b"x" * 600, b"5\r\nabcdeX", b"0\r\nx-a: %b" % (b"y" * 2 * LIMIT)])
def test_what_is_wrong_is_found_before_the_client_ends(sent: bytes) -> None:
    reader = Reader(ours())
    reader.receive(CHUNKED)
    reader.receive(sent)
    assert reader.outcome == BROKEN


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nhost: a\r\n", CHUNKED + b"0\r\n"])
def test_a_head_or_trailers_that_are_too_long_and_come_at_once(sent: bytes) -> None:
    connection = ours()
    connection.receive_data(sent + b"x-a: %b\r\n\r\n" % (b"y" * 3 * LIMIT))
    with pytest.raises(h11.RemoteProtocolError) as raised:
        while connection.next_event() is not h11.NEED_DATA:
            pass
    assert raised.value.error_status_hint == 431


def test_many_small_chunks_are_not_all_taken_at_once() -> None:
    connection = ours()
    connection.receive_data(CHUNKED)
    assert isinstance(connection.next_event(), h11.Request)
    content, rest = connection.split(b"1\r\nx\r\n" * 1000)
    assert (content, rest) == ([b"x" * 256], None)
    total = 0
    while content:
        total += sum(map(len, content))
        content, rest = connection.split(b"")
    assert (total, rest) == (1000, None)


def test_content_that_came_with_its_head_is_left_to_h11() -> None:
    connection = ours()
    connection.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n\n\n\n\nGET")
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.content is None
    data = connection.next_event()
    assert isinstance(data, h11.Data)
    assert bytes(data.data) == b"\n\n\n\n"  # in one piece
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED
    assert connection.trailing_data == (b"GET", False)


@pytest.mark.parametrize("kind", [b"content-length: 4", b"transfer-encoding: chunked"])
def test_a_request_to_switch_protocols_is_left_to_h11(kind: bytes) -> None:
    connection = ours()
    connection.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n%b\r\n\r\n" % kind)
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.content is None


def test_the_next_request_waits_for_the_answer_to_this_one() -> None:
    connection = ours()
    connection.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.next_event() is h11.NEED_DATA
    connection.receive_data(b"abcdGET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Data)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED
    connection.send(h11.Response(status_code=204, headers=[]))
    connection.send(h11.EndOfMessage())
    connection.start_next_cycle()
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert request.method == b"GET"


def test_a_connection_that_is_not_kept() -> None:
    connection = ours()
    connection.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\n")
    connection.next_event()
    connection.receive_data(b"abcd")
    assert isinstance(connection.next_event(), h11.Data)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    connection.send(h11.Response(status_code=204, headers=[]))
    connection.send(h11.EndOfMessage())
    assert connection.our_state is h11.MUST_CLOSE


def test_content_of_a_response_is_framed_and_not_copied() -> None:
    connection = ours()
    connection.receive_data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    connection.next_event()
    connection.send(h11.Response(status_code=200, headers=[]))
    one, two = b"abc", memoryview(b"defgh")
    framed = connection.send_content([one, two])
    assert b"".join(framed) == b"8\r\nabcdefgh\r\n"
    assert framed[1] is one
    assert framed[2] is two


def test_content_of_a_response_is_no_longer_than_was_said() -> None:
    connection = ours()
    connection.receive_data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    connection.next_event()
    connection.send(h11.Response(status_code=200, headers=[("content-length", "3")]))
    assert connection.send_content([b"ab"]) == [b"ab"]
    with pytest.raises(h11.LocalProtocolError):
        connection.send_content([b"cd"])
