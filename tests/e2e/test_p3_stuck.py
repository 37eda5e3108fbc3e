"""WASI 0.3: requests that a guest has left unfinished are noticed and ended."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.e2e.process import command, on_disk
from tests.e2e.ways import WAYS, Cut
from tests.guests.build import build
from wasi_trio.testing import ExchangeFailed, Retirement, component


@WAYS
@pytest.mark.parametrize("steps", ["b", "bt", "bd"])
async def test_a_response_left_unfinished(steps: str, way: Any) -> None:
    """Its client is cut off when the instance has had no other request for its idle timeout."""
    async with way("python_p3", idle_instance_timeout=0.05) as ask:
        with pytest.raises(Cut) as caught:
            await ask("GET", f"/ordered?body=12345&do={steps}")
        assert (caught.value.status, caught.value.content) == (200, b"12345")
        assert (await ask("GET", "/hello")).status == 200


@WAYS
@pytest.mark.parametrize("steps", ["b", "bd"])
async def test_content_of_its_length_is_complete_without_trailers(steps: str, way: Any) -> None:
    """The guest has left other things undone, but a client that counts bytes has everything."""
    async with way("python_p3", idle_instance_timeout=0.05) as ask:
        for _ in range(2):
            got = await ask("GET", f"/ordered?body=12345&length=5&do={steps}")
            assert (got.status, got.content) == (200, b"12345")


async def test_the_harness_does_not_hang(autojump_clock: trio.testing.MockClock) -> None:
    async with component(build("python_p3")) as app:
        async with app.stream("GET", "/ordered?body=12345&do=b") as response:
            assert await anext(aiter(response)) == b"12345"
            with pytest.raises(ExchangeFailed, match="the guest left it unfinished"):
                await response.read()
        assert 1 <= trio.current_time() < 2
        await app.settled()
        assert app.instances[0].retired is Retirement.IDLE


async def test_a_request_that_another_request_can_finish(autojump_clock: trio.testing.MockClock) -> None:
    """A guest may make one request wait for another, as long as another may arrive."""
    async with component(build("python_p3")) as app, app.stream("GET", "/ordered?body=12345&do=b") as response:
        for _ in range(5):
            await trio.sleep(0.7)
            assert await (await app.get("/hello")).read() == b"Hello, world!\n"
        await trio.sleep(0.7)
        assert (await app.get("/resume?do=td")).status == 200
        assert await response.read() == b"12345"
        assert response.trailers["x-trailer"] == "value"
        assert app.started == 1


async def test_no_other_request_will_arrive(autojump_clock: trio.testing.MockClock) -> None:
    """An instance that receives no more requests need not be waited for."""
    async with component(build("python_p3"), max_instance_reuse_count=2) as app:
        async with app.stream("GET", "/ordered?body=12345&do=b") as response:
            assert await anext(aiter(response)) == b"12345"
            await trio.testing.wait_all_tasks_blocked()  # an instance that computes gets no other request
            assert (await app.get("/hello")).status == 200
            assert app.started == 1
            with pytest.raises(ExchangeFailed, match="the guest left it unfinished"):
                await response.read()
        with pytest.raises(ExchangeFailed, match="the guest left it unfinished"):
            async with component(build("python_p3"), max_instance_reuse_count=1) as other:
                await other.get("/wait-for-itself")
        assert trio.current_time() == 0


async def test_a_guest_that_waits_for_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with component(build("python_p3")) as app:
        with pytest.raises(ExchangeFailed, match="the guest left it unfinished"):
            await app.get("/wait-for-itself")
        assert await (await app.get("/hello")).read() == b"Hello, world!\n"


async def test_work_of_the_host_is_not_unfinished(autojump_clock: trio.testing.MockClock) -> None:
    """A guest that has passed on a body is done with it. The client may send and read slowly."""

    async def slowly() -> Any:
        for piece in (b"one", b"two", b"three"):
            await trio.sleep(100)
            yield piece

    async with component(build("python_p3"), max_instance_reuse_count=1) as app:
        async with app.stream("POST", "/through", content=slowly()) as response:
            await trio.sleep(50)
            assert await response.read() == b"onetwothree"
        async with app.stream("GET", "/ordered?body=12345&do=btd") as response:
            await trio.sleep(50)
            assert await response.read() == b"12345"


@pytest.mark.parametrize("kept", ["1s", "3600s"])
async def test_a_server_ends_in_spite_of_them(kept: str, tmp_path: Path) -> None:
    options = ("--idle-instance-timeout", kept)
    async with command(tmp_path, on_disk(tmp_path, "python_p3"), *options) as server, server.client() as client:
        await client.start("/ordered?body=12345&do=b")
        await client.head()
        assert await client.content(5) == b"12345"
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
