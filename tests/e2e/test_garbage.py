"""Requests leave no cycles: collecting those of busy guests would block the event loop for tenths of a second."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from tests.e2e.support import content, guest, handle, request
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions

REQUESTS = 50


@contextmanager
def collected() -> Iterator[list[int]]:
    """Count the objects created in the block that only the collector frees."""
    count = [0]
    gc.collect()
    gc.disable()
    try:
        yield count
        count[0] = gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("guest", "path"),
    [
        ("hello", "/"),
        ("sleep", "/1"),
        ("p3_hello", "/"),
        ("p3_sleep", "/1"),
        ("p3_sync", "/1"),
        ("p3_backpressure", "/1"),
        ("p3_background", "/1"),
        ("python_p2", "/sleep?ms=1"),
        ("python_p3", "/sleep?ms=1"),
    ],
)
async def test_requests(guest: str, path: str, autojump_clock: trio.testing.MockClock) -> None:
    async with handle(guest, HandlerOptions(max_instance_reuse_count=1_000)) as pool:
        for _ in range(REQUESTS):
            await pool.get(path)
        with collected() as count:
            for _ in range(REQUESTS):
                await pool.get(path)
            await trio.sleep(1)
        assert count[0] < REQUESTS, "less than an object for each"


@pytest.mark.parametrize(
    ("name", "reuse"), [("hello", 1), ("hello", 1_000_000), ("p3_hello", 1), ("p3_hello", 1_000_000), ("p3_hello", 10)]
)
async def test_a_thousand_requests_with_reuse_and_retirement(name: str, reuse: int) -> None:
    """Instances leave no cycles either. Only ctypes types are collected, which ctypes creates again at times."""
    async with ProxyHandler(guest(name), HandlerOptions(max_instance_reuse_count=reuse)) as handler:

        async def ask(requests: int) -> None:
            for _ in range(requests):
                await content(await handler.handle(request()))
            await trio.testing.wait_all_tasks_blocked()

        await ask(20)
        with collected() as count:
            await ask(1000)
        assert count[0] < 100, "less than an object for ten"
        assert handler.started >= 1000 // reuse


async def test_a_guest_that_yields() -> None:
    async with handle("p3_spin") as pool:
        pool.handler.submit(request("/3"))
        for _ in range(REQUESTS):
            await trio.lowlevel.checkpoint()
        with collected() as count:
            for _ in range(10 * REQUESTS):
                await trio.lowlevel.checkpoint()
        assert count[0] < REQUESTS
