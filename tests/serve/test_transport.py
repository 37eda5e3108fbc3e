"""Bytes of a connection: sent at once and by a task, received by a task and in whatever reads a request's body."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.support import Answering, connect, read_to_end, serving, tcp_pair
from wasi_trio.serve.http import _transport as transport
from wasi_trio.serve.http._transport import LEAST_READ, MOST_READ, Input, Output
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.wasi import _time_slice
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._messages import Response

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
SIZED = HEAD + b"content-length: 100000\r\n\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"
#: more than the system holds
FLOOD = bytes(32 << 20)
#: no part of which is like another
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest may go on for as long as it likes."""
    monkeypatch.setattr(_time_slice, "_LONGEST", math.inf)


class Interrupted(BaseException):
    """As raised in a host function that is interrupted."""


def interrupt() -> None:
    raise Interrupted


# ---- sending -------------------------------------------------------------------------------------------------


async def read_some(client: socket.socket, size: int) -> bytes:
    return await trio.to_thread.run_sync(lambda: client.recv(size, socket.MSG_WAITALL))


class Broken:
    """Counts how often it is told that the client is gone."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@asynccontextmanager
async def sending() -> AsyncIterator[tuple[Output, socket.socket, Broken]]:
    async with tcp_pair() as (stream, client), trio.open_nursery() as nursery:
        broken = Broken()
        yield Output(stream, nursery, broken), client, broken
        nursery.cancel_scope.cancel()


async def test_at_once() -> None:
    async with sending() as (output, client, _):
        for content in b"one", b"another":
            output.write([content[:1], content[1:]])
            assert output.size == 0
            assert client.recv(100) == content


async def test_what_does_not_go_at_once_goes_before_all_else() -> None:
    async with sending() as (output, client, _):
        output.write([FLOOD, b"its end"])
        assert output.size > 0
        output.write([b"more"])
        with trio.fail_after(30):
            assert await read_some(client, len(FLOOD) + 11) == FLOOD + b"its endmore"
            await output.drain()
        assert output.size == 0
        # The task is there, and waits for what comes next.
        output.write([FLOOD])
        with trio.fail_after(30):
            assert await read_some(client, len(FLOOD)) == FLOOD


async def test_more_pieces_than_one_call_takes() -> None:
    pieces = [b"%04d" % number * 100 for number in range(2000)]
    async with sending() as (output, client, _):
        output.write(pieces)  # type: ignore[arg-type]
        with trio.fail_after(30):
            assert await read_some(client, 2000 * 400) == b"".join(pieces)


async def test_draining_to_a_level() -> None:
    async with sending() as (output, client, _):
        output.write([FLOOD])
        size = output.size
        assert size > 1 << 20
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(output.drain, size // 2)
                await read_some(client, len(FLOOD) - size // 4)
            assert output.size <= size // 2


async def test_progress_is_told_and_timed(mock_clock: trio.testing.MockClock) -> None:
    async with sending() as (output, client, _):
        told: list[int] = []
        output.on_progress = lambda: told.append(output.size)
        output.write([FLOOD])
        began = output.progressed_at
        assert began == trio.current_time()
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(5)
        await read_some(client, 8 << 20)
        with trio.fail_after(30):
            while output.progressed_at == began:
                await trio.lowlevel.checkpoint()
        assert output.progressed_at == began + 5
        assert told[-1] < len(FLOOD)
        assert output.active


async def test_a_connection_that_is_broken_is_told_of_once() -> None:
    async with sending() as (output, client, broken):
        client.close()
        with trio.fail_after(30):
            while not output.broken:
                output.write([b"x"])
                await trio.lowlevel.checkpoint()  # until the system knows
        output.write([b"x"])
        output.fail()
        await output.drain()
        assert broken.count == 1
        assert output.size == 0


async def test_a_connection_that_breaks_while_something_is_queued() -> None:
    async with sending() as (output, client, broken):
        output.write([FLOOD])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.drain)
            await trio.testing.wait_all_tasks_blocked()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert output.broken
        assert broken.count == 1


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["drain", "write"]), st.lists(st.integers(0, 100_000), min_size=1, max_size=3))
        | st.tuples(st.just("turns"), st.just([0])),
        max_size=15,
    ),
)
def test_all_comes_in_order(steps: list[tuple[str, list[int]]]) -> None:
    left = memoryview(CONTENT)
    received = bytearray()

    def some(size: int) -> memoryview:
        nonlocal left
        piece, left = left[:size], left[size:]
        return piece

    def read(client: socket.socket) -> None:
        while data := client.recv(50_000):
            received.extend(data)

    async def main() -> None:
        async with tcp_pair() as (stream, client), trio.open_nursery() as nursery:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
            reader = threading.Thread(target=read, args=[client])
            reader.start()
            output = Output(stream, nursery, Broken())
            for how, sizes in steps:
                if how == "turns":
                    await trio.lowlevel.checkpoint()
                    continue
                pieces = [piece for size in sizes if (piece := some(size))]
                if pieces:
                    output.write(list(pieces))
                if how == "drain":
                    await output.drain()
            await output.drain()
            await stream.send_eof()
            await trio.to_thread.run_sync(reader.join)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert received == CONTENT[: len(CONTENT) - len(left)]


# ---- TLS -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def tls_pair() -> AsyncIterator[tuple[trio.SSLStream[trio.SocketStream], trio.SSLStream[trio.SocketStream]]]:
    """A server's end and a client's, which have agreed on TLS."""
    authority = trustme.CA()
    server_context, client_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    authority.configure_trust(client_context)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stream = await connect(listeners[0].socket.getsockname()[1])
    async with listeners[0], await listeners[0].accept() as accepted:
        ours = trio.SSLStream(accepted, server_context, server_side=True)
        theirs = trio.SSLStream(stream, client_context, server_hostname="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.do_handshake)
            nursery.start_soon(theirs.do_handshake)
        yield ours, theirs
        await trio.aclose_forcefully(theirs)


async def test_tls_in_both_directions_at_once() -> None:
    async with tls_pair() as (ours, theirs), trio.open_nursery() as nursery:
        output, source = Output(ours, nursery, Broken()), Input(ours)
        assert not source.is_plain

        async def receive(stream: trio.SSLStream[trio.SocketStream]) -> None:
            received = b""
            while len(received) < 3 * len(CONTENT):
                received += await stream.receive_some(1 << 16)
            assert received == 3 * CONTENT

        with trio.fail_after(30):
            async with trio.open_nursery() as directions:
                for _ in range(3):
                    output.write([CONTENT[:1000], memoryview(CONTENT)[1000:]])
                directions.start_soon(receive, theirs)
                directions.start_soon(theirs.send_all, CONTENT)
                received = b""
                while len(received) < len(CONTENT):
                    received += await source.receive()
                assert received == CONTENT
            await output.drain()
        nursery.cancel_scope.cancel()


async def test_a_tls_connection_that_breaks() -> None:
    broken = Broken()
    async with tls_pair() as (ours, theirs), trio.open_nursery() as nursery:
        output = Output(ours, nursery, broken)
        output.write([FLOOD])
        await trio.testing.wait_all_tasks_blocked()
        await trio.aclose_forcefully(theirs)
        with trio.fail_after(30):
            await output.drain()
        assert output.broken
        assert broken.count == 1
        nursery.cancel_scope.cancel()


# ---- receiving -----------------------------------------------------------------------------------------------


async def test_pieces_grow_with_what_comes() -> None:
    async with tcp_pair() as (stream, client), trio.open_nursery() as nursery:
        source = Input(stream)
        nursery.start_soon(trio.to_thread.run_sync, client.sendall, CONTENT * 4)
        sizes: list[int] = []
        received = b""
        with trio.fail_after(30):
            while len(received) < 4 * len(CONTENT):
                data = await source.receive()
                sizes.append(len(data))
                received += data
        assert received == CONTENT * 4
        assert sizes[0] <= LEAST_READ
        assert max(sizes) > 4 * LEAST_READ
        assert max(sizes) <= MOST_READ


async def test_no_more_is_received_than_is_asked_for() -> None:
    async with tcp_pair() as (stream, client):
        source = Input(stream)
        client.sendall(b"abcdef")
        assert source.receive_now(4) == b"abcd"
        assert source.receive_now(4) == b"ef"
        assert source.receive_now(4) is None
        client.shutdown(socket.SHUT_WR)
        assert await source.receive(4) == b""


async def test_a_connection_that_broke() -> None:
    async with tcp_pair() as (stream, client):
        source = Input(stream)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert not transport.is_broken(stream)
        client.close()
        assert transport.is_broken(stream)
        with pytest.raises(trio.BrokenResourceError):
            await source.receive()


# ---- a request's content, received by the task and by its reader ---------------------------------------------


class Receiving:
    """A request of which the head was received, that the test answers; ``client`` sends the rest."""

    def __init__(self, client: trio.SocketStream, exchange: Exchange) -> None:
        self.client = client
        self.exchange = exchange
        self.body = exchange.request.body

    def send(self, data: bytes | memoryview) -> None:
        """Send without waiting: the other end is not read in this thread meanwhile."""
        sent = self.client.socket._sock.send(data)
        assert sent == len(data)

    def take(self) -> bytes:
        """What there is of the content, found as a guest does it, in one go."""
        return self.body.take(self.body.available())


@asynccontextmanager
async def receiving(head: bytes, **limits: float) -> AsyncIterator[Receiving]:
    """One that is under way, waiting for content."""
    service = Answering()
    async with serving(service, **limits) as port, await connect(port) as client:
        await client.send_all(head)
        await trio.testing.wait_all_tasks_blocked(0.05)
        (exchange,) = service.exchanges
        yield Receiving(client, exchange)


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_that_finds_nothing_gets_what_has_come_by_then() -> None:
    async with receiving(SIZED) as request:
        for content in b"one", b"another":
            assert request.take() == b""
            request.send(content)
            assert request.take() == content
        # What comes while nobody reads is taken by the task.
        request.send(b"a third")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.body.buffered == len(b"a third")
        assert request.take() == b"a third"


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_that_finds_nothing_has_its_answer_sent() -> None:
    """Its client may send more only when it has read that."""
    async with receiving(SIZED) as request:
        response = Body()
        request.exchange.respond(Response(200, [], response))
        await trio.testing.wait_all_tasks_blocked(0.05)
        client = request.client.socket._sock
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        response.try_write(b"question")
        assert request.take() == b""
        assert client.recv(1000) == b"8\r\nquestion\r\n"


@pytest.mark.usefixtures("unhurried")
async def test_the_end_by_length() -> None:
    async with receiving(HEAD + b"content-length: 8\r\n\r\n") as request:
        request.send(b"12345")
        assert request.take() == b"12345"
        request.send(b"678" + NEXT)
        assert request.take() == b"678"
        assert request.body.ended
        await answers_both(request)


@pytest.mark.usefixtures("unhurried")
async def test_the_end_in_chunks() -> None:
    async with receiving(CHUNKED) as request:
        request.send(b"5\r\n12345\r\n3\r\n67")
        assert request.take() == b"1234567"
        assert not request.body.finished
        request.send(b"8\r\n0\r\nx-a: b\r\n\r\n" + NEXT)
        assert request.take() == b"8"
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.body.ended
        assert request.body.trailers == [("x-a", b"b")]
        await answers_both(request)


async def answers_both(request: Receiving) -> None:
    """What comes behind the content is the next request."""
    request.exchange.respond(Response(200, [], Body.of(b"answer")))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (await request.client.receive_some()).endswith(b"answer")


@pytest.mark.usefixtures("unhurried")
async def test_chunks_that_are_too_many_to_be_decoded_in_one_go() -> None:
    async with receiving(CHUNKED) as request:
        request.send(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
        pieces = []
        while piece := request.take():
            pieces.append(piece)
            if len(pieces) == 2:
                # The task and the reader take turns.
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(0.05)
        pieces.append(request.take())
        assert len(pieces) > 2
        assert b"".join(pieces) == b"x" * 1000
        assert request.body.ended


@pytest.mark.usefixtures("unhurried")
async def test_chunks_that_go_wrong() -> None:
    async with receiving(CHUNKED) as request:
        request.send(b"3\r\nabc\r\nno chunk\r\n")
        assert request.take() == b"abc" or request.exchange.abandoned
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.exchange.abandoned
        assert b"HTTP/1.1 400" in await request.client.receive_some()
        assert_cut_short(request.body)


def assert_cut_short(body: Body) -> None:
    body.take(body.buffered)
    with pytest.raises(BodyAborted, match="connection-terminated"):
        body.check()


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("reader_first", [True, False])
async def test_a_client_that_ends_in_the_middle(reader_first: bool) -> None:
    async with receiving(SIZED) as request:
        await request.client.send_eof()
        if reader_first:
            assert request.take() == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert_cut_short(request.body)
        assert request.exchange.abandoned


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("reader_first", [True, False])
async def test_a_connection_that_breaks(reader_first: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(SIZED) as request:
        request.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await request.client.aclose()
        if reader_first:
            assert request.take() == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert_cut_short(request.body)
        assert request.exchange.abandoned
    assert not caplog.records


async def test_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_time_slice, "_LONGEST", 0.0)
    async with receiving(SIZED) as request:
        request.send(b"one")
        assert request.take() == b"one"
        request.send(b"two")
        assert request.take() == b""  # it has to wait
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.take() == b"two"
        request.send(b"three")
        assert request.take() == b"three"


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_that_is_interrupted() -> None:
    """Some of the content may be lost, so the connection cannot go on."""
    async with receiving(SIZED) as request:
        request.send(b"lost")
        request.body.on_readable = interrupt
        with pytest.raises(Interrupted):
            request.take()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.exchange.abandoned
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(request.client)


@pytest.mark.usefixtures("unhurried")
async def test_a_response_whose_guest_is_interrupted_breaks_off() -> None:
    """Some of it may be lost, so nothing may follow."""
    service = Answering()
    async with serving(service) as port, await connect(port) as client:
        await client.send_all(NEXT)
        await trio.testing.wait_all_tasks_blocked(0.05)
        body = Body()
        (exchange,) = service.exchanges
        exchange.respond(Response(200, [], body))
        await trio.testing.wait_all_tasks_blocked(0.05)
        received = await client.receive_some()
        assert received.startswith(b"HTTP/1.1 200")
        body.try_write(bytes(body.capacity))
        body.on_permit = interrupt
        with pytest.raises(Interrupted):
            # Room is made by sending, and somebody waits for room.
            body.permit()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert exchange.abandoned
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(client)


async def test_nothing_comes_for_too_long(mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(SIZED, read_timeout=10.0) as request:
        for _ in range(3):
            mock_clock.jump(9)
            request.send(b"x")
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert request.take() == b"x"
        mock_clock.jump(9)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not request.exchange.abandoned
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.exchange.abandoned
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(request.client)
    assert "closed a connection: its client sent nothing for 10 s" in caplog.text


@settings(deadline=None, max_examples=50)
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
    content = CONTENT[:80_000]
    if chunk is None:
        head, wire = HEAD + b"content-length: %d\r\n\r\n" % len(content), content
    else:
        pieces = [content[start : start + chunk] for start in range(0, len(content), chunk)]
        head, wire = CHUNKED, b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    async def main() -> None:
        left, received = memoryview(wire), b""
        service = Answering()
        async with serving(service) as port, await connect(port) as client, trio.open_nursery() as nursery:
            await client.send_all(head)
            while not service.exchanges:
                await trio.lowlevel.checkpoint()
            body = service.exchanges[0].request.body
            for what, count in steps:
                if what == "send" and left:
                    # What the system does not take is sent later.
                    left = left[client.socket._sock.send(left[:count]) :]
                elif what == "take":
                    body.available()
                    received += body.take(count)
                else:
                    for _ in range(count):
                        await trio.lowlevel.checkpoint()
            # All that is left is sent, and then read, at last.
            nursery.start_soon(client.send_all, left)
            with trio.fail_after(30):
                while not body.ended:
                    received += body.take(body.available())
                    await trio.lowlevel.checkpoint()
            assert received == content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_time_slice, "_LONGEST", longest)
        trio.run(main)
