"""Host memory held for guests: the limit of each instance, and the limit of all together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.e2e.support import engine, handle, logged, request, serve, told, until
from tests.guests import wat
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._failures import Overloaded
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions

#: The limit of an instance, of which the guests below use a hundredth.
LIMIT = 16 << 20


#: The limit of all instances in the tests that use it up.
TOTAL = 64 << 20


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Restore the budget of the engine, which all tests share."""
    budget = engine().budget
    limit = budget.limit
    yield
    budget.limit = limit
    assert (budget.accounts, budget.used) == (0, 0)


@pytest.fixture
def shortage() -> Iterator[None]:
    """Use up the memory, so that only the first instance is admitted."""
    budget = engine().budget
    budget.add(TOTAL + 1)
    yield
    budget.add(-TOTAL - 1)


@pytest.mark.parametrize("guest", ["hoard", "p3_hoard"])
async def test_an_instance_that_exceeds_its_limit_is_ended(guest: str, caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(
        memory=LIMIT // 2, instance_memory=LIMIT, calls=1_000_000, handles=10_000_000, table_elements=10_000_000
    )
    async with serve(guest, HandlerOptions(limits=limits)) as site:
        for number, case in enumerate(wat.cases(guest)):
            if case == "keep-calls":
                continue
            caplog.clear()
            answer = await site.ask(f"/{number}")
            if case == "fine":
                assert answer.body == b"survived\n"
                continue
            assert answer.status == 500, case
            if case == "memory":
                assert told(caplog, "unreachable"), "the guest learns that the memory is used up"
            else:
                assert told(caplog, "may hold at most 16 MiB of memory"), (case, logged(caplog))
            await site.all_gone()


async def test_active_calls_have_their_own_limit(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("p3_hoard", HandlerOptions(limits=Limits(calls=100))) as site:
        number = wat.cases("p3_hoard").index("calls")
        assert (await site.ask(f"/{number}")).status == 500
        assert told(caplog, "too many calls in progress: an instance may have at most 100")
        await site.all_gone()
        assert (await site.ask("/0")).body == b"survived\n"


@pytest.mark.parametrize("name", ["sleep", "p3_sleep"])
@pytest.mark.usefixtures("shortage")
async def test_requests_wait_for_memory(name: str, autojump_clock: trio.testing.MockClock) -> None:
    options = HandlerOptions(total_memory=TOTAL, memory_timeout=60, max_instance_concurrent_reuse_count=1)
    async with handle(name, options) as pool:
        begun = trio.current_time()
        answers: list[float] = []

        async def ask() -> None:
            await pool.get("/10000")
            answers.append(round(trio.current_time() - begun))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: pool.handler.active == 1)
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await until(lambda: pool.handler.waiting == 2)
        # One instance at a time: it ends with its request (0.2), or receives the next one (0.3).
        assert answers == [10, 20, 30]


@pytest.mark.usefixtures("shortage")
async def test_requests_are_refused_after_waiting_for_memory(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    options = HandlerOptions(total_memory=TOTAL, memory_timeout=5, metrics=metrics)
    async with handle("sleep", options) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.get, "/100000")
            await until(lambda: pool.handler.active == 1)
            begun = trio.current_time()
            with pytest.raises(Overloaded, match="no memory for another instance besides the 1 present") as caught:
                await pool.handler.handle(request("/0"))
            assert (caught.value.status, caught.value.retry_after) == (503, 1)
            assert trio.current_time() - begun == pytest.approx(5)
            assert pool.handler.waiting == 0
            assert value("wasi_trio_memory_limit_bytes") == TOTAL < (value("wasi_trio_memory_bytes") or 0)
        assert told(caplog, "no memory for another instance")


@pytest.mark.usefixtures("shortage")
async def test_requests_of_one_instance_do_not_wait_for_memory(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_sleep", HandlerOptions(total_memory=TOTAL, idle_instance_timeout=3600)) as pool:
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(pool.get, "/1000")
        assert trio.current_time() == pytest.approx(1)
        assert pool.handler.started == 1


@pytest.mark.usefixtures("shortage")
async def test_leaving_a_handler_after_requests_waited_for_memory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    options = HandlerOptions(total_memory=TOTAL, memory_timeout=1000)
    async with handle("sleep", options) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.get, "/1000")
        await until(lambda: pool.handler.active == 1)
        nursery.start_soon(pool.get, "/1000")
        await until(lambda: pool.handler.waiting == 1)
    assert trio.current_time() == pytest.approx(2)


@pytest.mark.usefixtures("shortage")
async def test_the_end_of_another_components_instance_frees_memory(autojump_clock: trio.testing.MockClock) -> None:
    options = HandlerOptions(total_memory=TOTAL, memory_timeout=60)
    async with (
        handle("sleep", options) as one,
        handle("p3_sleep", options) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(one.get, "/7000")
        await until(lambda: one.handler.active == 1)
        begun = trio.current_time()
        assert await other.get("/0")
        assert trio.current_time() - begun == pytest.approx(7)


@pytest.mark.usefixtures("shortage")
async def test_a_request_that_waits_for_a_place_and_then_for_memory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    options = HandlerOptions(total_memory=TOTAL, memory_timeout=5, max_concurrent_requests=1)
    async with (
        handle("sleep", options) as pool,
        handle("p3_sleep", HandlerOptions()) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(pool.get, "/10000")
        await until(lambda: pool.handler.active == 1)
        # Another component's instance, started in spite of the shortage, keeps the memory used up.
        engine().budget.limit = 2 * TOTAL
        nursery.start_soon(other.get, "/1000000")
        await until(lambda: bool(other.instances))
        engine().budget.limit = TOTAL
        with pytest.raises(Overloaded, match="no memory for another instance"):
            await pool.handler.handle(request("/0"))
        assert trio.current_time() == pytest.approx(15)
        assert pool.handler.waiting == 0
