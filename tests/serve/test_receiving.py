"""Content of requests on its way from a socket to a body, by a task of its own and in whatever reads the body."""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.support import tcp_pair
from wasi_trio.serve.http1 import Http1Connection
from wasi_trio.serve.receiving import ContentReceiver, Receiver
from wasi_trio.serve.upload import Message, Upload
from wasi_trio.wasi import stretch
from wasi_trio.wasi.http.body import Body

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
SIZED = HEAD + b"content-length: 100000\r\n\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"


async def no_event() -> Message:
    raise AssertionError("nothing goes by way of hypercorn here")


class Receiving:
    """A request of which the head was received; ``client`` is the other end, and sends the rest."""

    def __init__(self, head: bytes, stream: trio.SocketStream, client: socket.socket, patience: float | None) -> None:
        self.client = client
        self.body = Body()
        self.http1 = Http1Connection(1 << 16)
        self.http1.receive_data(head)
        assert isinstance(self.http1.next_event(), h11.Request)
        self.upload = Upload(no_event, self.body, self.http1)
        self.receiver = ContentReceiver(Receiver(stream, patience), self.http1, self.upload)
        #: what ``run`` has returned or raised
        self.rest: bytes | None = None
        self.error: Exception | None = None

    async def run(self) -> None:
        try:
            self.rest = await self.receiver.run()
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            self.error = error

    def take(self) -> bytes:
        """What there is of the content, found as a guest does it, in one go."""
        return self.body.take(self.body.available())

    def content_of_rest(self) -> bytes:
        """What is content in what came last."""
        assert self.rest
        self.http1.receive_data(self.rest)
        content = b""
        while isinstance(event := self.http1.next_event(), h11.Data):
            content += event.data
        assert isinstance(event, h11.EndOfMessage)
        return content


@asynccontextmanager
async def receiving(head: bytes, patience: float | None = None) -> AsyncIterator[Receiving]:
    """One that is under way, waiting for content."""
    async with tcp_pair() as (stream, client):
        request = Receiving(head, stream, client, patience)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.run)
            await trio.testing.wait_all_tasks_blocked()
            yield request
            nursery.cancel_scope.cancel()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest may go on for as long as it likes."""
    monkeypatch.setattr(stretch, "_LONGEST", math.inf)


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_that_finds_nothing_gets_what_has_come_by_then() -> None:
    async with receiving(SIZED) as request:
        for content in b"one", b"another":
            assert request.take() == b""
            request.client.sendall(content)
            assert request.take() == content
        # What comes while nobody reads is taken by the task.
        request.client.sendall(b"a third")
        await trio.testing.wait_all_tasks_blocked()
        assert request.body.buffered == len(b"a third")
        assert request.take() == b"a third"


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_that_finds_nothing_has_its_answer_sent() -> None:
    async with receiving(SIZED) as request:

        def answer() -> bool:
            if questions:
                request.client.sendall(questions.pop())
                return True
            return False

        questions = [b"more"]
        request.upload.on_starved = answer
        request.client.sendall(b"some")
        assert request.take() == b"some"
        assert questions, "there was no need yet"
        assert request.take() == b"more"
        assert request.take() == b""


@pytest.mark.usefixtures("unhurried")
async def test_the_end_by_length() -> None:
    async with receiving(HEAD + b"content-length: 8\r\n\r\n") as request:
        request.client.sendall(b"12345")
        assert request.take() == b"12345"
        request.client.sendall(b"678" + NEXT)
        assert request.take() == b""  # the last of it goes another way, with the end
        await trio.testing.wait_all_tasks_blocked()
        assert request.rest == b"678" + NEXT
        assert request.take() == b""


@pytest.mark.usefixtures("unhurried")
async def test_the_end_in_chunks() -> None:
    async with receiving(CHUNKED) as request:
        request.client.sendall(b"5\r\n12345\r\n3\r\n67")
        assert request.take() == b"1234567"
        request.client.sendall(b"8\r\n0\r\nx-a: b\r\n\r\n" + NEXT)
        assert request.take() == b"8"
        await trio.testing.wait_all_tasks_blocked()
        assert request.rest == b"0\r\nx-a: b\r\n\r\n" + NEXT


@pytest.mark.usefixtures("unhurried")
async def test_chunks_that_are_too_many_to_be_decoded_in_one_go() -> None:
    async with receiving(CHUNKED) as request:
        request.client.sendall(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
        pieces = []
        while piece := request.take():
            pieces.append(piece)
            if len(pieces) == 2:
                # The task and the reader take turns.
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        pieces.append(request.take())
        assert len(pieces) > 3
        assert b"".join(pieces) == b"x" * 1000
        assert request.rest == b"0\r\n\r\n"


@pytest.mark.usefixtures("unhurried")
async def test_chunks_that_go_wrong() -> None:
    async with receiving(CHUNKED) as request:
        request.client.sendall(b"3\r\nabc\r\nno chunk\r\n")
        assert request.take() == b"abc"
        await trio.testing.wait_all_tasks_blocked()
        assert request.rest is not None
        request.http1.receive_data(request.rest)
        with pytest.raises(h11.RemoteProtocolError, match="illegal chunk header"):
            request.http1.next_event()


@pytest.mark.usefixtures("unhurried")
async def test_a_client_that_ends_in_the_middle() -> None:
    async with receiving(SIZED) as request:
        request.client.shutdown(socket.SHUT_WR)
        assert request.take() == b""
        await trio.testing.wait_all_tasks_blocked()
        assert request.rest == b""


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("reader_first", [True, False])
async def test_a_connection_that_breaks(reader_first: bool) -> None:
    async with receiving(SIZED) as request:
        request.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.client.close()
        if reader_first:
            assert request.take() == b""
        await trio.testing.wait_all_tasks_blocked()
        # The system tells of it once; after that it looks like an end.
        assert isinstance(request.error, trio.BrokenResourceError) or (reader_first and request.rest == b"")


async def test_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "_LONGEST", 0.0)
    async with receiving(SIZED) as request:
        request.client.sendall(b"one")
        assert request.take() == b"one"
        request.client.sendall(b"two")
        assert request.take() == b""  # it has to wait
        await request.body.wait_readable()
        assert request.take() == b"two"
        request.client.sendall(b"three")
        assert request.take() == b"three"


class Interrupted(BaseException):
    """As raised in a host function that is interrupted."""


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_that_is_interrupted() -> None:
    """Some of the content may be lost, so the connection can not go on."""

    def interrupt() -> None:
        raise Interrupted

    async with receiving(SIZED) as request:
        request.client.sendall(b"lost")
        request.body.on_readable = interrupt
        with pytest.raises(Interrupted):
            request.take()
        await trio.testing.wait_all_tasks_blocked()
        assert request.rest == b""


@pytest.mark.usefixtures("unhurried")
async def test_nothing_comes_for_too_long(mock_clock: trio.testing.MockClock) -> None:
    async with receiving(SIZED, patience=10) as request:
        for _ in range(3):
            mock_clock.jump(9)
            request.client.sendall(b"x")
            assert request.take() == b"x"  # so that the task finds nothing
            await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(9)
        await trio.testing.wait_all_tasks_blocked()
        assert request.error is None
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(request.error, trio.TooSlowError)


@settings(deadline=None)
@given(
    chunk=st.none() | st.integers(1, 20_000),
    steps=st.lists(
        st.tuples(st.just("send"), st.integers(1, 30_000))
        | st.tuples(st.just("take"), st.integers(1, 30_000))
        | st.tuples(st.just("turns"), st.integers(1, 10)),
        max_size=40,
    ),
    longest=st.sampled_from([0.0, math.inf]),
)
def test_content_is_whole_whoever_receives_it(chunk: int | None, steps: list[tuple[str, int]], longest: float) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(20_000))
    if chunk is None:
        head, wire = HEAD + b"content-length: %d\r\n\r\n" % len(content), content
    else:
        pieces = [content[start : start + chunk] for start in range(0, len(content), chunk)]
        head, wire = CHUNKED, b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    async def main() -> None:
        left, received = memoryview(wire), b""
        async with receiving(head) as request:
            # All that is left is sent, and then read, at last.
            for what, count in [*steps, ("send", len(wire))]:
                if what == "send":
                    request.client.sendall(left[:count])
                    left = left[count:]
                elif what == "take":
                    request.body.available()
                    received += request.body.take(count)
                else:
                    for _ in range(count):
                        await trio.lowlevel.checkpoint()
            while request.rest is None:
                received += request.take()
                await trio.lowlevel.checkpoint()
            received += request.take()
            assert received + request.content_of_rest() == content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch, "_LONGEST", longest)
        trio.run(main)
