"""The limit of processor time for a request: exceeding it answers the request and ends the guest's call."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.e2e.support import Pool, content, handle, logged, request, serve
from tests.guests import wat
from wasi_trio.serve.pool._failures import CpuTimeExceeded, GuestFailed
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.testing import component
from wasi_trio.wasi.http._body import BodyAborted

QUOTA = 0.05
OPTIONS = HandlerOptions(max_cpu_time=QUOTA, max_instance_reuse_count=9)
SPINNING = [("spin", "/"), ("p3_spin", "/0"), ("p3_spin", "/2"), ("p3_spin", "/3"), ("spin_in_start", "/")]


@pytest.mark.parametrize(("guest", "path"), [*SPINNING, ("p3_spin_in_start", "/")])
async def test_503(guest: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """No deadline could end it."""
    async with serve(guest, OPTIONS) as site:
        for _ in range(2):
            answer = await site.ask(path)
            assert (answer.status, answer.body) == (503, b"Service Unavailable\n")
            assert "retry-after" not in answer.headers
        assert site.handler.started == 2
        await site.all_gone()
    assert any(f"the guest used more than {QUOTA:g} s of processor time" in line for line in logged(caplog))


@pytest.mark.parametrize(("guest", "path"), SPINNING)
async def test_the_instance_ends_with_a_reason(guest: str, path: str) -> None:
    ended: list[Retirement] = []

    class Listener:
        def instance_started(self, number: int) -> None: ...
        def began(self, instance: int) -> None: ...
        def idle(self) -> None: ...

        def instance_ended(self, number: int, reason: Retirement) -> None:
            ended.append(reason)

    options = HandlerOptions(max_cpu_time=QUOTA, listeners=[lambda name: Listener()])
    async with handle(guest, options) as pool:
        with pytest.raises(CpuTimeExceeded):
            await pool.get(path)
        await pool.all_gone()
        await trio.testing.wait_all_tasks_blocked()
    assert ended == [Retirement.FAILED_TO_START if guest == "spin_in_start" else Retirement.CPU_TIME]


@pytest.mark.parametrize(("guest", "path"), [("spin", "/1"), ("p3_spin", "/1")])
async def test_a_begun_response_is_cut(guest: str, path: str) -> None:
    async with handle(guest, OPTIONS) as pool:
        response = await pool.handler.handle(request(path))
        with pytest.raises(BodyAborted):
            await content(response)
        await pool.all_gone()


async def test_other_requests_of_the_instance_fail_as_after_a_trap() -> None:
    """Those requests wait in the instance of WASI 0.3. Later requests get another instance."""
    source = wat.source("p3_glutton")
    async with component(source, max_cpu_time=0.5) as app, trio.open_nursery() as nursery:
        failed: list[type[Exception]] = []

        async def wait() -> None:
            with pytest.raises(GuestFailed) as caught:
                await app.get("/1")
            failed.append(caught.type)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CpuTimeExceeded):
            await app.get("/1000000")
        assert (await app.get("/0")).status == 200
    assert failed == [GuestFailed]


@pytest.mark.parametrize("guest", ["hello", "p3_hello", "echo", "p3_echo"])
async def test_each_request_has_its_own_limit(guest: str) -> None:
    """This holds for all requests of an instance. Waiting takes no processor time."""
    async with handle(guest, HandlerOptions(max_cpu_time=1.0, max_instance_reuse_count=1000)) as pool:
        for _ in range(100):
            await pool.get()
        assert pool.handler.started == 1


@pytest.mark.parametrize("guest", ["sleep", "p3_sleep"])
async def test_waiting_does_not_count(guest: str, autojump_clock: trio.testing.MockClock) -> None:
    async with handle(guest, HandlerOptions(max_cpu_time=1.0)) as pool:
        assert await pool.get("/60000") == b"slept\n"


async def _used(pool: Pool) -> float:
    exchange = pool.handler.submit(request())
    await exchange.wait()
    return exchange.processor


async def test_nothing_is_counted_without_a_limit() -> None:
    async with handle("hello") as pool:
        assert await _used(pool) == 0
    async with handle("hello", OPTIONS) as pool:
        assert await _used(pool) > 0
