"""WASI 0.3: abandoned requests. The guest is told, and its other requests are not affected."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.e2e.support import Pool, called, content, guest, handle, request, serve, until
from wasi_trio.component._values import Ok
from wasi_trio.runtime._instance import Instance
from wasi_trio.serve.pool._failures import DeadlinePassed
from wasi_trio.serve.pool._guest import ServiceHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.http._body import Body, BodyAborted
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.p3._http import incoming_request

HOUR = 3600.0


async def cancellations(pool: Pool) -> int:
    """Return the number of cancellations seen by p3_cancel's only instance."""
    assert pool.handler.started == 1
    return int(await pool.get("/9"))


async def leave(pool: Pool, path: str) -> None:
    """Send a request, and leave when the guest waits."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.get, path)
        await trio.testing.wait_all_tasks_blocked()
        assert pool.handler.active
        nursery.cancel_scope.cancel()


# ---- deadlines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/0", "/1"])
async def test_a_deadline_missed_while_waiting(path: str, autojump_clock: trio.testing.MockClock) -> None:
    """The guest is told, and ends the request in time, with a response or without. The instance continues."""
    async with handle("p3_cancel", HandlerOptions(request_timeout=10, idle_instance_timeout=HOUR)) as pool:
        for count in (1, 2, 3):
            before = trio.current_time()
            with pytest.raises(DeadlinePassed, match="no response within 10 s") as caught:
                await pool.get(path)
            assert caught.value.status == 504
            assert trio.current_time() - before == pytest.approx(10)
            await until(lambda: not pool.handler.active)
            assert await cancellations(pool) == count


async def test_the_neighbours_request_finishes_normally(autojump_clock: trio.testing.MockClock) -> None:
    options = HandlerOptions(request_timeout=10)
    async with handle("p3_sleep", options) as pool, trio.open_nursery() as nursery:
        answers = []

        async def neighbour() -> None:
            await trio.sleep(5)
            answers.append(await pool.get("/9000"))

        nursery.start_soon(neighbour)
        with pytest.raises(DeadlinePassed):
            await pool.get("/11000")
        assert trio.current_time() == pytest.approx(10)
        await until(lambda: pool.handler.active == 1)
        await trio.sleep(4.1)
        assert answers == [b"slept\n"]
        assert pool.handler.started == 1


async def test_over_a_socket(mock_clock: trio.testing.MockClock) -> None:
    async with serve("p3_sleep", HandlerOptions(request_timeout=30)) as site:
        assert (await site.ask("/0")).status == 200  # creates the instance
        async with site.client() as late, site.client() as neighbour:
            await late.start("/3600000")
            await neighbour.start("/100")
            while site.handler.active < 2:
                await trio.lowlevel.checkpoint()
            mock_clock.rate = 1
            assert (await neighbour.head()).status == 200
            mock_clock.jump(30)
            answer = await late.rest(await late.head())
            assert (answer.status, answer.body) == (504, b"Gateway Timeout\n")
        assert site.handler.started == 1
        while site.handler.active:
            await trio.lowlevel.checkpoint()


async def test_a_guest_that_ignores_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """The client has its answer at the deadline. After the grace period the instance takes no more requests, and is
    dropped after its other requests."""
    options = HandlerOptions(request_timeout=10, cancel_grace=3, idle_instance_timeout=HOUR)
    async with handle("p3_cancel", options) as pool, trio.open_nursery() as nursery:
        with pytest.raises(DeadlinePassed):
            await pool.get("/2")
        assert trio.current_time() == pytest.approx(10)
        assert pool.handler.active == 1, "the guest is not done with it"
        await trio.sleep(1)

        async def neighbour() -> None:
            with pytest.raises(DeadlinePassed):
                await pool.get("/0")

        nursery.start_soon(neighbour)
        await trio.sleep(1.9)
        assert (pool.handler.active, pool.live, pool.handler.started) == (2, 1, 1)
        await trio.sleep(0.2)
        assert (pool.handler.active, pool.live) == (1, 1)
        assert await pool.get("/9") == b"0\n", "this is another instance"
        assert (pool.handler.started, pool.live) == (2, 2)
        await trio.sleep(8)
        assert (pool.handler.active, pool.live) == (0, 1)


@pytest.mark.parametrize(("guest", "path"), [("p3_spin", "/0"), ("p3_spin", "/2"), ("python_p3", "/spin")])
async def test_a_deadline_missed_while_computing(guest: str, path: str, mock_clock: trio.testing.MockClock) -> None:
    async with serve(guest, HandlerOptions(request_timeout=0.1, cancel_grace=0.05)) as site:
        for number in (1, 2):
            mock_clock.rate = 0
            async with site.client() as client:
                await client.start(path)
                await called(site, number)
                mock_clock.rate = 1
                assert (await client.head()).status == 504
            await site.all_gone()
        assert site.handler.started == 2


async def test_a_deadline_missed_while_yielding() -> None:
    """This guest is told where it next yields, but continues to yield."""
    async with serve("p3_spin", HandlerOptions(request_timeout=0.1, cancel_grace=0.05)) as site:
        assert (await site.ask("/3")).status == 504
        await site.all_gone()


async def test_a_yielding_guest_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_cancel") as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.get, "/5")
            await until(lambda: pool.handler.active == 1 and len(pool.instances) == 1)
            nursery.cancel_scope.cancel()
        await until(lambda: not pool.handler.active)
        assert await cancellations(pool) == 1


async def test_a_begun_response_has_no_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_endless_body", HandlerOptions(request_timeout=10)) as pool:
        response = await pool.handler.handle(request("/0"))
        assert await response.body.receive_some() == b"begun\n"
        with trio.move_on_after(100):
            await response.body.receive_some()
            pytest.fail("the response went on, or ended")
        assert pool.handler.active == 1


async def test_queued_requests_have_their_deadline(autojump_clock: trio.testing.MockClock) -> None:
    options = HandlerOptions(request_timeout=10, max_concurrent_requests=1)
    async with handle("p3_sleep", options) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.get, "/9000")
        await trio.sleep(1)
        with pytest.raises(DeadlinePassed):
            await pool.get("/9000")
        assert trio.current_time() == pytest.approx(11)
        await until(lambda: not pool.handler.active)
        assert await pool.get("/10") == b"slept\n"
        assert pool.handler.started == 1


# ---- clients that leave ------------------------------------------------------------------------------------


async def test_a_client_that_leaves_before_the_head() -> None:
    async with handle("p3_cancel", HandlerOptions(idle_instance_timeout=HOUR)) as pool:
        for count in (1, 2, 3):
            await leave(pool, "/0")
            await until(lambda: not pool.handler.active)
            assert await cancellations(pool) == count


async def test_a_response_after_cancellation_is_dropped() -> None:
    async with handle("p3_cancel", HandlerOptions(idle_instance_timeout=HOUR)) as pool:
        for count in (1, 2, 3):
            await leave(pool, "/1")
            await until(lambda: not pool.handler.active)
            assert await cancellations(pool) == count
        assert pool.live == 1


@pytest.mark.parametrize(("path", "answer"), [("/3", b"4\n")])
async def test_a_guest_that_cancels_its_own_call(path: str, answer: bytes) -> None:
    async with handle("p3_cancel") as pool:
        for _ in range(3):
            assert await pool.get(path) == answer
        assert await cancellations(pool) == 0


async def test_a_guest_that_cancels_its_own_read() -> None:
    async with handle("p3_cancel") as pool:
        body = Body()
        response = await pool.handler.handle(request("/4", "POST", body))
        assert await content(response) == b"2\n"
        assert body.closed, "nobody is going to read it"
        with_content = request("/4", "POST", Body.of(b"abc"))
        assert await content(await pool.handler.handle(with_content)) == b"48\n", "completed, with 3 bytes"


async def test_a_client_that_leaves_over_a_socket() -> None:
    async with serve("p3_cancel", HandlerOptions(idle_instance_timeout=HOUR)) as site:
        assert (await site.ask("/9")).body == b"0\n"  # creates the instance
        async with site.client() as client, site.client() as other:
            await client.start("/0")
            await other.start("/0")
            await until(lambda: site.handler.active == 2)
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(client.stream)
            await until(lambda: site.handler.active == 1)
            assert (await site.ask("/9")).body == b"1\n"
        await until(lambda: not site.handler.active)
        assert (await site.ask("/9")).body == b"2\n"
        assert site.handler.started == 1


@pytest.mark.parametrize("guest", ["p3_echo", "p3_echo_through", "python_p3"])
async def test_a_client_that_leaves_in_the_middle_of_both_bodies(guest: str) -> None:
    """Another request of the same instance continues."""
    path = "/echo" if guest == "python_p3" else "/"
    async with serve(guest, HandlerOptions(idle_instance_timeout=HOUR)) as site, site.client() as stays:
        await stays.start(path, "POST", ("transfer-encoding", "chunked"))
        await stays.write(b"first")
        answer = await stays.head()
        assert await stays.content(5) == b"first"
        for framing in (("transfer-encoding", "chunked"), ("content-length", "1000")):
            async with site.client() as leaves:
                await leaves.start(path, "POST", framing)
                await leaves.write(b"a part of it")
                await leaves.head()
                assert await leaves.content(12) == b"a part of it"
                assert site.handler.active == 2
            await until(lambda: site.handler.active == 1)
        await stays.write(b"second")
        assert await stays.content(6) == b"second"
        await stays.end()
        await stays.rest(answer)
        assert (answer.body, answer.cut) == (b"", False)
        await until(lambda: not site.handler.active)
        if guest != "python_p3":  # on a slow machine it may compute so long that it gets no other request
            assert site.handler.started == 1
        await leaves_nothing(site)


@pytest.mark.parametrize("guest", ["p3_echo", "p3_echo_through", "python_p3"])
async def test_a_cut_request(guest: str, autojump_clock: trio.testing.MockClock) -> None:
    """Its content ends, and its trailers report an error. An echo of it must not appear complete."""
    path = "/echo" if guest == "python_p3" else "/"
    async with handle(guest) as pool:
        body = Body()
        response = await pool.handler.handle(request(path, "POST", body))
        body.try_write(b"a part of it")
        assert await response.body.receive_some() == b"a part of it"
        body.abort(HttpError("connection-terminated"))
        if guest == "p3_echo":  # it ignores the trailers
            assert await response.body.receive_some() == b""
        else:
            with pytest.raises(BodyAborted):
                await response.body.receive_some()
        await until(lambda: not pool.handler.active)
        await leaves_nothing(pool)


@pytest.mark.parametrize(
    ("guest", "path"), [("p3_endless_body", "/0"), ("p3_endless_body", "/1"), ("python_p3", "/flood")]
)
async def test_a_client_that_leaves_in_the_middle_of_the_response(guest: str, path: str) -> None:
    async with serve(guest, HandlerOptions(idle_instance_timeout=HOUR)) as site:
        for _ in range(3):
            async with site.client() as client:
                await client.start(path)
                assert (await client.head()).status == 200
                await client.event()
                assert site.handler.active == 1
            await until(lambda: not site.handler.active)
        if guest != "python_p3":  # it may still compute when the next request arrives
            assert site.handler.started == 1


async def test_a_guest_that_continues_an_abandoned_response() -> None:
    """It has the grace period, and not the time for work after a response, which is unlimited here."""
    options = HandlerOptions(cancel_grace=0.1, post_response_timeout=None)
    async with serve("python_p3", options) as site:
        async with site.client() as client:
            await client.start("/endless")
            assert (await client.head()).status == 200
            await client.event()
        await site.all_gone()
        assert site.handler.started == 1


async def test_many_clients_that_leave() -> None:
    """They leave at all stages, and all at once. Nothing of them is left. This guest cannot be told to stop."""
    async with serve("python_p3", HandlerOptions(cancel_grace=0.1, idle_instance_timeout=0.1)) as site:
        paths = ("/sleep?ms=3600000", "/echo", "/through", "/flood", "/sleep?ms=1")
        async with trio.open_nursery() as nursery:

            async def come_and_wait(path: str) -> None:
                async with site.client() as client:
                    await client.start(path, "POST", ("content-length", "10"))
                    await client.write(b"part")
                    await client.head()
                    await trio.sleep_forever()

            for number in range(50):
                nursery.start_soon(come_and_wait, paths[number % len(paths)])
            await until(lambda: len(site.instances) == 50)
            await until(lambda: site.handler.active == 40)
            nursery.cancel_scope.cancel()
        await until(lambda: not site.handler.active)
        assert (await site.ask("/hello")).status == 200
        await site.all_gone()


async def test_a_guest_without_support_for_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """componentize-py's runtime traps when told. So it is not told: its instance is dropped if the request does not end
    by itself, and serves its other requests until then."""
    options = HandlerOptions(cancel_grace=5, request_timeout=60)
    async with handle("python_p3", options) as pool, trio.open_nursery() as nursery:
        answers = []

        async def neighbour() -> None:
            answers.append(await pool.get("/sleep?ms=30000"))

        nursery.start_soon(neighbour)
        await leave(pool, "/sleep?ms=2000")
        assert pool.handler.active == 2
        await trio.sleep(2.5)
        assert (pool.handler.active, pool.handler.started) == (1, 1)
        await leave(pool, "/sleep?ms=3600000")
        await trio.sleep(4.9)
        assert await pool.get("/hello") == b"Hello, world!\n"
        assert (pool.handler.active, pool.handler.started) == (2, 1)
        await trio.sleep(0.2)
        assert await pool.get("/hello") == b"Hello, world!\n"
        assert (pool.handler.active, pool.handler.started) == (1, 2)
        await trio.sleep(30)
        assert answers == [b"slept\n"]
        assert pool.live == 0


async def leaves_nothing(pool: Pool) -> None:
    """No guest thread and no host operation is left in an instance."""
    pumps = [instance.pump for instance in set(pool.instances)]
    await until(lambda: all(pump is not None and pump.idle and not pump.operations for pump in pumps))


async def test_no_task_is_left_when_the_handler_ends(autojump_clock: trio.testing.MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with handle("p3_cancel", HandlerOptions(idle_instance_timeout=HOUR)) as pool:
        for path in ("/0", "/1", "/0"):
            await leave(pool, path)
        await until(lambda: not pool.handler.active)
        assert trio.lowlevel.current_statistics().tasks_living > before
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert pool.live == 0


# ---- direct calls ------------------------------------------------------------------------------------------


async def test_a_cancelled_call_leaves_the_other_calls_of_a_componentize_py_guest() -> None:
    """componentize-py's guests have no ``task.cancel``, and trap when they are told of a cancellation."""
    linked = guest("python_p3")
    export = ServiceHandler(linked).export
    async with trio.open_nursery() as nursery:
        instance = await Instance.instantiate(linked, WasiContext(nursery=nursery))
        assert instance.pump is not None
        nursery.start_soon(instance.pump.run)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as calls:
                calls.start_soon(instance.call_export, export, [incoming_request(request("/sleep?ms=3600000"))])
                await until(lambda: bool(instance.pump and instance.pump.operations))
                scope.cancel()
        assert isinstance(await instance.call_export(export, [incoming_request(request("/hello"))]), Ok)
        assert instance.pump.failure is None
        nursery.cancel_scope.cancel()
    instance.close()
