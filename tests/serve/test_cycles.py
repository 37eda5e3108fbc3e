"""Requests and connections leave no reference cycles. Collecting them would block the event loop at times."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import trio
import trio.testing

from tests.serve.support import Http2, ask, connect, get, guest, read_until, serving
from wasi_trio.serve._responder import HandlerService
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions

COUNT = 200
#: The kinds of objects that are created once and may form cycles, such as ctypes types.
ONCE = 100
#: The kinds of objects that a trap may leave, because a stored exception refers to frames.
FAILED = 500


@contextmanager
def without_cycles(most: int = ONCE) -> Iterator[None]:
    """Fail if the block leaves more objects in cycles than those that are created once."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() < most
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["hello", "p3_hello"])
async def test_cycles(name: str) -> None:
    options = HandlerOptions(max_instance_reuse_count=1_000_000, idle_instance_timeout=3600)
    async with ProxyHandler(guest(name), options) as handler, serving(HandlerService(handler)) as port:
        async with await connect(port) as stream:

            async def request() -> None:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                await read_until(stream, b"Hello, world!\n")

            await request()
            with without_cycles():
                for _ in range(COUNT):
                    await request()
        async with await connect(port) as stream:
            client = Http2(stream)
            await client.content(await client.ask("/"))
            with without_cycles():
                for _ in range(COUNT):
                    await client.content(await client.ask("/"))
        with without_cycles():
            for _ in range(COUNT):
                await ask(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            with trio.fail_after(30):
                await trio.testing.wait_all_tasks_blocked(0.05)


@pytest.mark.parametrize(("name", "path"), [("p3_hoard", "/1"), ("p3_hoard", "/4"), ("hoard", "/1")])
async def test_objects_held_by_a_guest_are_in_no_cycle(name: str, path: str) -> None:
    """Thousands of active calls, for example, once left fifty objects each to the collector when cancelled."""
    async with ProxyHandler(guest(name), HandlerOptions()) as handler, serving(HandlerService(handler)) as port:
        for attempt in range(2):
            with without_cycles(FAILED) if attempt else nullcontext():
                assert (await get(port, path)).startswith(b"HTTP/1.1 500")
                with trio.fail_after(60):
                    while list(handler.workers):
                        await trio.testing.wait_all_tasks_blocked(0.01)
