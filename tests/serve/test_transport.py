"""The bytes of a connection: sent at once and by a task, received by a task and by the reader of a body."""

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
from wasi_trio.serve.http._transport import MAX_READ, MIN_READ, Input, Output
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.wasi import _time_slice
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._messages import Response

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
SIZED = HEAD + b"content-length: 100000\r\n\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"
#: More than the system buffers.
FLOOD = bytes(32 << 20)
#: Data in which all parts differ.
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a guest continue without a time slice."""
    monkeypatch.setattr(_time_slice, "_LENGTH", math.inf)


class Interrupted(BaseException):
    """The exception of an interrupted host function."""


def interrupt() -> None:
    raise Interrupted


# ---- sending -------------------------------------------------------------------------------------------------


async def read_some(client: socket.socket, size: int) -> bytes:
    return await trio.to_thread.run_sync(lambda: client.recv(size, socket.MSG_WAITALL))


class Broken:
    """Counts the reports that the client has left."""

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


async def test_queued_data_is_sent_in_order() -> None:
    async with sending() as (output, client, _):
        output.write([FLOOD, b"its end"])
        assert output.size > 0
        output.write([b"more"])
        with trio.fail_after(30):
            assert await read_some(client, len(FLOOD) + 11) == FLOOD + b"its endmore"
            await output.drain()
        assert output.size == 0
        # The task is running, and waits for more data.
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


async def test_progress_is_reported_with_its_time(mock_clock: trio.testing.MockClock) -> None:
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


async def test_a_broken_connection_is_reported_once() -> None:
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


async def test_a_connection_that_breaks_with_queued_data() -> None:
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
def test_data_arrives_in_order(steps: list[tuple[str, list[int]]]) -> None:
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
    """Return a server's and a client's end of a TLS connection."""
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


async def test_a_broken_tls_connection() -> None:
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


async def test_pieces_grow_with_the_traffic() -> None:
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
        assert sizes[0] <= MIN_READ
        assert max(sizes) > 4 * MIN_READ
        assert max(sizes) <= MAX_READ


async def test_the_limit_of_a_read() -> None:
    async with tcp_pair() as (stream, client):
        source = Input(stream)
        client.sendall(b"abcdef")
        assert source.receive_now(4) == b"abcd"
        assert source.receive_now(4) == b"ef"
        assert source.receive_now(4) is None
        client.shutdown(socket.SHUT_WR)
        assert await source.receive(4) == b""


async def test_a_broken_connection() -> None:
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
    """A request whose head was received and whose response the test sends. ``client`` sends the content."""

    def __init__(self, client: trio.SocketStream, exchange: Exchange) -> None:
        self.client = client
        self.exchange = exchange
        self.body = exchange.request.body

    def send(self, data: bytes | memoryview) -> None:
        """Send without waiting: nothing in this thread reads the other end meanwhile."""
        sent = self.client.socket._sock.send(data)
        assert sent == len(data)

    def take(self) -> bytes:
        """Return the available content, read as a guest would, without waiting."""
        return self.body.take(self.body.available())


@asynccontextmanager
async def receiving(head: bytes, **limits: float) -> AsyncIterator[Receiving]:
    """Return an active request that waits for content."""
    service = Answering()
    async with serving(service, **limits) as port, await connect(port) as client:
        await client.send_all(head)
        await trio.testing.wait_all_tasks_blocked(0.05)
        (exchange,) = service.exchanges
        yield Receiving(client, exchange)


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_of_an_empty_body_receives_by_itself() -> None:
    async with receiving(SIZED) as request:
        for content in b"one", b"another":
            assert request.take() == b""
            request.send(content)
            assert request.take() == content
        # While nobody reads, the task receives.
        request.send(b"a third")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.body.buffered == len(b"a third")
        assert request.take() == b"a third"


@pytest.mark.usefixtures("unhurried")
async def test_a_reader_of_an_empty_body_sends_its_response() -> None:
    """Its client may send more only after reading that."""
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
    """Answer a request and its successor, whose data follows the content."""
    request.exchange.respond(Response(200, [], Body.of(b"answer")))
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (await request.client.receive_some()).endswith(b"answer")


@pytest.mark.usefixtures("unhurried")
async def test_many_chunks_are_decoded_in_turns() -> None:
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
async def test_malformed_chunks() -> None:
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
async def test_a_client_that_ends_within_its_content(reader_first: bool) -> None:
    async with receiving(SIZED) as request:
        await request.client.send_eof()
        if reader_first:
            assert request.take() == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert_cut_short(request.body)
        assert request.exchange.abandoned


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("reader_first", [True, False])
async def test_a_connection_that_breaks_within_content(reader_first: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with receiving(SIZED) as request:
        request.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await request.client.aclose()
        if reader_first:
            assert request.take() == b""
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert_cut_short(request.body)
        assert request.exchange.abandoned
    assert not caplog.records


async def test_other_tasks_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_time_slice, "_LENGTH", 0.0)
    async with receiving(SIZED) as request:
        request.send(b"one")
        assert request.take() == b"one"
        request.send(b"two")
        assert request.take() == b""  # it must wait
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert request.take() == b"two"
        request.send(b"three")
        assert request.take() == b"three"


@pytest.mark.usefixtures("unhurried")
async def test_an_interrupted_reader() -> None:
    """Some content may be lost, so the connection cannot continue."""
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
async def test_a_response_is_cut_if_its_guest_is_interrupted() -> None:
    """Part of the response may be lost, so nothing may follow."""
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
            # Sending makes space, and a task waits for space.
            body.permit()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert exchange.abandoned
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(client)


async def test_the_read_timeout(mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
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
    assert "Closed a connection: its client sent nothing for 10 s" in caplog.text


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
def test_content_is_complete_with_both_receivers(
    chunk: int | None, steps: list[tuple[str, int]], longest: float
) -> None:
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
                    # The system accepts the rest later.
                    left = left[client.socket._sock.send(left[:count]) :]
                elif what == "take":
                    body.available()
                    received += body.take(count)
                else:
                    for _ in range(count):
                        await trio.lowlevel.checkpoint()
            # Everything is sent, and read, in the end.
            nursery.start_soon(client.send_all, left)
            with trio.fail_after(30):
                while not body.ended:
                    received += body.take(body.available())
                    await trio.lowlevel.checkpoint()
            assert received == content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_time_slice, "_LENGTH", longest)
        trio.run(main)
