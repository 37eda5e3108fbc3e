"""Accepting connections: all waiting ones in one turn, as far as slots are free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio
import trio.testing

from wasi_trio.serve._listening import bind
from wasi_trio.serve.http._server import MAX_AT_ONCE, _Listener


@contextmanager
def listening(clients: int) -> Iterator[socket.socket]:
    """Return a listening socket with this number of waiting clients."""
    with ExitStack() as stack:
        listener = stack.enter_context(bind(("127.0.0.1", 0)))
        for _ in range(clients):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        yield listener


async def test_waiting_connections_are_accepted_in_one_turn() -> None:
    with listening(MAX_AT_ONCE + 2) as sock:
        listener = _Listener(sock, None)
        streams = [await listener.accept()]
        with trio.testing.assert_no_checkpoints():
            for _ in range(MAX_AT_ONCE - 1):
                streams.append(await listener.accept())
        with trio.testing.assert_checkpoints():
            streams.append(await listener.accept())
        with trio.testing.assert_no_checkpoints():
            streams.append(await listener.accept())
        for stream in streams:
            await stream.aclose()
        await listener.aclose()


async def test_accepting_stops_without_free_slots() -> None:
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


async def test_no_slot_is_held_for_a_missing_connection() -> None:
    slots = trio.Semaphore(3)
    with listening(1) as sock:
        listener = _Listener(sock, slots)
        stream = await listener.accept()
        assert slots.value == 2
        await stream.aclose()
        await listener.aclose()


async def test_unserved_connections_are_closed_at_the_end() -> None:
    slots = trio.Semaphore(3)
    with listening(3) as sock:
        listener = _Listener(sock, slots)
        stream = await listener.accept()
        assert slots.value == 0
        await listener.aclose()
        assert slots.value == 2
        await stream.aclose()
