"""How connections are accepted: those that have come already in one go, as far as there are slots for them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio
import trio.testing

from wasi_trio.serve._listening import bind
from wasi_trio.serve.http._server import MOST_AT_ONCE, _Listener


@contextmanager
def listening(clients: int) -> Iterator[socket.socket]:
    """A socket to whose backlog so many clients have come."""
    with ExitStack() as stack:
        listener = stack.enter_context(bind(("127.0.0.1", 0)))
        for _ in range(clients):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        yield listener


async def test_in_one_go() -> None:
    with listening(MOST_AT_ONCE + 2) as sock:
        listener = _Listener(sock, None)
        streams = [await listener.accept()]
        with trio.testing.assert_no_checkpoints():
            for _ in range(MOST_AT_ONCE - 1):
                streams.append(await listener.accept())
        with trio.testing.assert_checkpoints():
            streams.append(await listener.accept())
        with trio.testing.assert_no_checkpoints():
            streams.append(await listener.accept())
        for stream in streams:
            await stream.aclose()
        await listener.aclose()


async def test_as_far_as_there_are_slots() -> None:
    slots = trio.Semaphore(3)
    with listening(5) as sock:
        listener = _Listener(sock, slots)
        streams = [await listener.accept() for _ in range(3)]
        assert slots.value == 0
        with trio.move_on_after(0) as scope:
            await listener.accept()
        assert scope.cancelled_caught
        slots.release()
        streams.append(await listener.accept())
        assert slots.value == 0
        for stream in streams:
            await stream.aclose()
        await listener.aclose()


async def test_no_slot_is_kept_for_one_that_has_not_come() -> None:
    slots = trio.Semaphore(3)
    with listening(1) as sock:
        listener = _Listener(sock, slots)
        stream = await listener.accept()
        assert slots.value == 2
        await stream.aclose()
        await listener.aclose()


async def test_those_that_nobody_took_are_closed_in_the_end() -> None:
    slots = trio.Semaphore(3)
    with listening(3) as sock:
        listener = _Listener(sock, slots)
        stream = await listener.accept()
        assert slots.value == 0
        await listener.aclose()
        assert slots.value == 2
        await stream.aclose()
