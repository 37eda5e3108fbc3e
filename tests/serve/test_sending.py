"""What is sent by tasks and, between these, by host functions at once."""

from __future__ import annotations

import math
import socket
import threading

import h11
import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.support import tcp_pair
from wasi_trio.serve.connection import Connection
from wasi_trio.serve.http1 import Http1Connection
from wasi_trio.serve.protocol_options import default_config
from wasi_trio.serve.sending import Sender
from wasi_trio.wasi import stretch
from wasi_trio.wasi.http.body import Body

#: more than the system holds
FLOOD = bytes(32 << 20)
#: no part of which is like another
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest may go on for as long as it likes."""
    monkeypatch.setattr(stretch, "_LONGEST", math.inf)


async def read_some(client: socket.socket, size: int) -> bytes:
    return await trio.to_thread.run_sync(lambda: client.recv(size, socket.MSG_WAITALL))


@pytest.mark.usefixtures("unhurried")
async def test_at_once() -> None:
    async with tcp_pair() as (stream, client):
        sender = Sender(stream, math.inf)
        for content in b"one", b"another":
            assert sender.can_send_now()
            assert sender.send_now([content[:1], content[1:]])
            assert client.recv(100) == content


@pytest.mark.usefixtures("unhurried")
async def test_what_does_not_go_at_once_goes_before_all_else() -> None:
    async with tcp_pair() as (stream, client), trio.open_nursery() as nursery:
        sender = Sender(stream, math.inf)
        assert not sender.send_now([FLOOD, b"its end"])
        assert not sender.can_send_now()
        nursery.start_soon(sender.send, [b"more"])
        nursery.start_soon(sender.send, [])
        assert await read_some(client, len(FLOOD) + 11) == FLOOD + b"its endmore"


@pytest.mark.usefixtures("unhurried")
async def test_nothing_goes_at_once_while_something_is_being_sent() -> None:
    async with tcp_pair() as (stream, client):
        sender = Sender(stream, math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, [FLOOD])
            await trio.testing.wait_all_tasks_blocked()
            assert not sender.can_send_now()
            await read_some(client, len(FLOOD))
        # The client was slow just now, so the next goes by a task as well.
        assert not sender.can_send_now()
        assert await sender.send([b"x"])
        assert sender.can_send_now()


async def test_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "_LONGEST", 0.0)
    async with tcp_pair() as (stream, _):
        sender = Sender(stream, math.inf)
        assert [sender.can_send_now() for _ in range(4)] == [True, False, True, False]


@pytest.mark.usefixtures("unhurried")
async def test_a_broken_connection_is_left_to_the_task() -> None:
    async with tcp_pair() as (stream, client):
        sender = Sender(stream, math.inf)
        client.close()
        while sender.send_now([b"x"]):
            await trio.lowlevel.checkpoint()  # until the system knows
        assert not await sender.send([])


class Interrupted(BaseException):
    """As raised in a host function that is interrupted."""


@pytest.mark.usefixtures("unhurried")
async def test_a_response_whose_guest_is_interrupted_breaks_off() -> None:
    """Some of it may be lost, so nothing may follow."""

    async def app(*arguments: object) -> None:
        raise AssertionError("there is no request")

    def interrupt() -> None:
        raise Interrupted

    async with tcp_pair() as (stream, client):
        connection = Connection(ASGIWrapper(app), default_config(), WorkerContext(None), stream, math.inf)
        http1 = Http1Connection(1 << 16)
        http1.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert isinstance(http1.next_event(), h11.Request)
        http1.send(h11.Response(status_code=200, headers=[]))
        body = Body()
        body.try_write(b"lost")
        body.on_permit = interrupt
        with pytest.raises(Interrupted):
            connection.send_content_now(http1, body)
        with pytest.raises(ConnectionResetError):
            client.recv(100)


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["task", "at once"]), st.lists(st.integers(0, 100_000), min_size=1, max_size=3))
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
        async with tcp_pair() as (stream, client):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
            reader = threading.Thread(target=read, args=[client])
            reader.start()
            sender = Sender(stream, math.inf)
            async with trio.open_nursery() as nursery:
                for how, sizes in steps:
                    if how == "turns":
                        await trio.lowlevel.checkpoint()
                    elif how == "at once" and sender.can_send_now():
                        if not sender.send_now([some(size) for size in sizes]):
                            nursery.start_soon(sender.send, [])
                    else:
                        await sender.send([some(size) for size in sizes])
            await stream.send_eof()
            await trio.to_thread.run_sync(reader.join)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretch, "_LONGEST", math.inf)
        trio.run(main)
    assert received == CONTENT[: len(CONTENT) - len(left)]
