"""Backpressure in all directions: nothing is read ahead of its reader, and unwanted data blocks nothing."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
import trio
import trio.testing

from tests.e2e.support import Client, serve

BLOCK = bytes(i * 7 % 251 for i in range(100_003))
COUNT = 600
#: A generous bound on the socket buffers between two programs. COUNT blocks are 60 MB.
IN_FLIGHT = 30_000_000


class Sender:
    """Sends COUNT blocks, and counts those that were sent."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, stream: trio.SocketStream) -> None:
        for _ in range(COUNT):
            await stream.send_all(BLOCK)
            self.sent += len(BLOCK)


def digest_of_all() -> bytes:
    expected = hashlib.sha256()
    for _ in range(COUNT):
        expected.update(BLOCK)
    return expected.digest()


async def read_all(client: Client) -> bytes:
    received = hashlib.sha256()
    while data := getattr(await client.event(), "data", b""):
        received.update(data)
    return received.digest()


@pytest.mark.parametrize("guest", ["echo", "echo_splice"])
async def test_an_upload_waits_for_the_reader_of_the_echo(guest: str, nursery: trio.Nursery) -> None:
    sender = Sender()
    async with serve(guest) as site, site.client() as client:
        await client.start("/", "POST", ("content-length", str(COUNT * len(BLOCK))))
        nursery.start_soon(sender.send, client.stream)
        await client.head()
        await trio.testing.wait_all_tasks_blocked()
        assert sender.sent < IN_FLIGHT
        assert await read_all(client) == digest_of_all()


async def test_another_server_waits_for_the_reader_of_the_response(nursery: trio.Nursery) -> None:
    sender = Sender()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (COUNT * len(BLOCK)))
        await sender.send(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, answer, listeners)
    async with serve("python_p2") as site, site.client() as client:
        await client.start(f"/fetch?url=http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/")
        await client.head()
        await trio.testing.wait_all_tasks_blocked()
        assert sender.sent < IN_FLIGHT
        assert await read_all(client) == digest_of_all()


@pytest.mark.parametrize(("guest", "path", "status"), [("hello", "/", 200), ("trap", "/", 500), ("sleep", "/20", 200)])
async def test_an_unread_request_body(guest: str, path: str, status: int) -> None:
    """A client receives the response although it sends as long as possible before it reads."""
    async with serve(guest) as site:
        for blocks in (1, 50):
            async with site.client() as client:
                await client.start(path, "POST", ("content-length", str(blocks * len(BLOCK))))
                with contextlib.suppress(trio.BrokenResourceError):  # the server closes after its response
                    for _ in range(blocks):
                        await client.write(BLOCK)
                answer = await client.rest(await client.head())
                assert (answer.status, answer.cut) == (status, False)
        await site.all_gone()


async def test_a_slow_reader_receives_everything() -> None:
    """The guest has long finished the response when its client reads the end."""
    body = BLOCK * 3
    async with serve("python_p2") as site, site.client() as client:
        await client.start("/echo", "POST", ("content-length", str(len(body))))
        await client.write(body)
        await client.end()
        answer = await client.head()
        await trio.testing.wait_all_tasks_blocked()
        await client.rest(answer)
        assert answer.body == body
        await site.all_gone()
