"""WASI 0.3: guests that trap, exit, return errors or never answer, and the requests affected by that."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.e2e.support import content, handle, logged, request, serve, told, until
from tests.guests import wat
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._exchange import GuestFailed
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._context import WasiOptions
from wasi_trio.wasi.http._body import Body, BodyAborted

FAMILIES = [name for name in wat.names() if name.startswith(("p3_wild", "p3_broken"))]

LIMITS = Limits(memory=16 << 20, table_elements=10_000, nested_seconds=0.05)


@pytest.mark.parametrize("family", FAMILIES)
async def test_wild_calls(family: str, caplog: pytest.LogCaptureFixture) -> None:
    """One server handles all cases of a family. Its instances would be reused without the traps."""
    async with serve(family, HandlerOptions(limits=LIMITS)) as site:
        for number, case in enumerate(wat.cases(family)):
            caplog.clear()
            answer = await site.ask(f"/{number}", "POST", b"a request's body")
            if case.startswith("fine"):
                assert (answer.status, answer.body, answer.cut) == (200, b"survived\n", False), case
                assert not logged(caplog), case
            elif not case.startswith("may-"):
                assert answer.status == 500 or answer.cut, case
                assert b"survived" not in answer.body, case
                await until(lambda: told(caplog, "trapped"))  # some return an error first
            assert (await site.ask("/0")).body == b"survived\n", case
        await until(lambda: not site.handler.active)


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        ("p3_trap", "/0", "trapped: wasm trap: wasm `unreachable` instruction executed"),
        ("p3_trap", "/2", "trapped: wasm trap: wasm `unreachable` instruction executed"),
        ("p3_no_response", "/0", "failed to produce a result"),
        ("p3_no_response", "/4", "trapped: `task.cancel` called by task which has not been cancelled"),
        ("p3_exit", "/0", "exited with code 0"),
        ("p3_exit", "/1", "exited with code 1"),
        ("p3_exit", "/3", "exited with code 3"),
    ],
)
async def test_no_response_at_all(name: str, path: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(name) as site:
        for number in (1, 2, 3):
            caplog.clear()
            answer = await site.ask(path)
            assert (answer.status, answer.cut) == (500, False)
            assert told(caplog, reason), logged(caplog)
            assert site.handler.started == number
        await site.all_gone()


@pytest.mark.parametrize(
    ("path", "code"), [("/1", "HTTP-request-denied"), ("/2", "internal-error"), ("/3", "DNS-error")]
)
async def test_an_error_in_place_of_a_response(path: str, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """As for WASI 0.2 the client gets a 500. But it is an answer, and the instance is reused."""
    async with serve("p3_no_response") as site:
        for _ in range(3):
            caplog.clear()
            answer = await site.ask(path)
            assert (answer.status, answer.body, answer.cut) == (500, b"Internal Server Error\n", False)
            assert told(caplog, code), logged(caplog)
        assert site.handler.started == 1


@pytest.mark.parametrize("path", ["/1", "/3"])
async def test_a_trap_in_the_middle_of_a_response(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve("p3_trap") as site:
        for number in (1, 2, 3):
            caplog.clear()
            answer = await site.ask(path)
            assert answer.status == 500 or (answer.status, answer.cut) == (200, True)
            await until(lambda: told(caplog, "trapped"))
            assert site.handler.started == number


async def test_exit_after_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async with serve("p3_exit") as site:
        for number in (1, 2, 3):
            assert (await site.ask("/2")).body == b"leaving\n"
            assert site.handler.started == number, "an instance that exited is not used again"
            await site.all_gone()


async def test_exit_does_not_affect_finished_responses(autojump_clock: trio.testing.MockClock) -> None:
    async with handle("p3_exit") as pool:
        assert await pool.get("/2") == b"leaving\n"
        await until(lambda: not pool.live)
        assert pool.handler.active == 0


async def test_the_blast_radius_of_a_trap(caplog: pytest.LogCaptureFixture) -> None:
    """Every response of that instance is cut, and no other response."""
    async with handle("python_p3", HandlerOptions(max_instance_concurrent_reuse_count=3)) as pool:
        bodies, responses = [], []
        for _ in range(6):
            bodies.append(Body())
            responses.append(await pool.handler.handle(request("/echo", "POST", bodies[-1])))
            bodies[-1].try_write(b"before")
            assert await responses[-1].body.receive_some() == b"before"
        assert (pool.handler.started, pool.handler.active) == (2, 6)
        assert [instance is pool.instances[0] for instance in pool.instances] == [True] * 3 + [False] * 3

        bodies[2].finish()
        assert await content(responses[2]) == b""
        with pytest.raises(GuestFailed, match="the guest trapped"):
            await pool.get("/trap")  # goes to the first instance, because the other one is full
        for response in responses[:2]:
            with pytest.raises(BodyAborted):
                await response.body.receive_some()
        assert bodies[0].closed
        assert (pool.handler.active, pool.live) == (3, 1)
        assert told(caplog, "instance 1, at POST /echo, POST /echo, GET /trap, trapped")
        assert not told(caplog, "instance 2")

        for body, response in zip(bodies[3:], responses[3:], strict=True):
            body.try_write(b"after")
            body.finish()
            assert await content(response) == b"after"


async def test_requests_without_an_answer_fail_with_their_instance(caplog: pytest.LogCaptureFixture) -> None:
    async with handle("python_p3") as pool, trio.open_nursery() as nursery:
        failed = []

        async def sleep() -> None:
            with pytest.raises(GuestFailed, match="the guest trapped") as caught:
                await pool.get("/sleep?ms=3600000")
            failed.append(caught.value.status)

        for _ in range(5):
            nursery.start_soon(sleep)
        await trio.testing.wait_all_tasks_blocked()
        assert (pool.handler.active, pool.handler.started) == (5, 1)
        with pytest.raises(GuestFailed, match="the guest trapped"):
            await pool.get("/trap")
        await until(lambda: len(failed) == 5)
        assert failed == [500] * 5
        assert pool.handler.active == 0
        assert await pool.get("/hello") == b"Hello, world!\n"


async def test_a_trap_in_background_work(autojump_clock: trio.testing.MockClock) -> None:
    """It has no request that could fail, but ends its instance and the instance's requests."""
    async with handle("python_p3") as pool:
        assert await pool.get("/background?ms=5000&trap") == b"started\n"
        with pytest.raises(GuestFailed, match="the guest trapped"):
            await pool.get("/sleep?ms=3600000")
        assert trio.current_time() == pytest.approx(5.0, abs=0.1)
        assert await pool.get("/hello") == b"Hello, world!\n"
        assert pool.handler.started == 2


async def test_a_host_function_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def broken(size: int) -> bytes:
        raise ZeroDivisionError("in the host")

    async with serve("python_p3", HandlerOptions(wasi=WasiOptions(random=broken))) as site:
        answer = await site.ask("/random?bytes=3")
        assert (answer.status, answer.cut) == (500, False)
        assert "ZeroDivisionError: in the host" in caplog.text


@pytest.mark.parametrize("path", ["/0", "/1"])
async def test_the_client_ends_an_endless_body(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve("p3_endless_body") as site:
        # Creates everything that its calls need, which may count as computing.
        await site.ask(path, "HEAD")
        await until(lambda: not site.handler.active)
        async with site.client() as client, site.client() as other:
            for one in (client, other):
                await one.start(path)
                assert (await one.head()).status == 200
                event = await one.event()
                assert event.data.startswith(b"begun\n")
            assert site.handler.active == 2
            if path == "/0":  # a constant writer may count as computing, and then gets no second request
                assert site.handler.started == 1
        await until(lambda: not site.handler.active)
        assert (await site.ask("/nothing", "HEAD")).status == 200
        await until(lambda: not site.handler.active)
    assert "broke off" not in caplog.text, "as if that were the guest's doing"


async def test_spinning_stops_no_other_instance() -> None:
    async with serve("p3_spin", HandlerOptions(cancel_grace=0.05)) as site, serve("p3_hello") as other:
        async with site.client() as client:
            await client.start("/0")
            await until(lambda: site.live == 1)
            for _ in range(5):
                assert (await other.ask()).body == b"Hello, world!\n"
        await site.all_gone()


async def test_requests_do_not_wait_for_a_computing_instance() -> None:
    """They get other instances, even if they arrived together with it."""
    async with handle("python_p3", HandlerOptions(max_instance_reuse_count=1000, idle_instance_timeout=1e6)) as pool:
        assert await pool.get("/hello") == b"Hello, world!\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.get, "/spin")
            await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as others:
                for _ in range(5):
                    others.start_soon(pool.get, "/hello")
            assert pool.handler.active == 1
            assert await pool.get("/hello") == b"Hello, world!\n"
            assert pool.handler.started >= 2
            nursery.cancel_scope.cancel()


async def test_a_yielding_guest_lets_others_run() -> None:
    """This concerns its own instance, other instances, and the host."""
    async with serve("p3_spin") as site, site.client() as yielding:
        await yielding.start("/3")
        await until(lambda: site.live == 1)
        async with site.client() as other:
            await other.start("/3")
            await until(lambda: site.handler.active == 2)
        assert site.handler.started == 1
        async with serve("p3_hello") as hello:
            assert (await hello.ask()).status == 200


async def test_two_yielding_guests_let_others_run() -> None:
    """They mainly yield to each other. Yet neither blocks new requests, and the host does not store their turns."""
    async with handle("p3_spin") as pool:
        for count in (1, 2, 3):
            pool.handler.submit(request("/3"))
            await until(lambda count=count: len(pool.instances) == count)  # type: ignore[misc]
            for _ in range(100):
                await trio.lowlevel.checkpoint()
        assert pool.handler.started == 1
        pump = pool.instances[0].pump
        assert pump is not None
        # Hundreds of turns have passed. A tick may have come between any two of them, so some conditions without a
        # parked thread are still queued.
        assert len(pump._resting) + len(pump._woken) < 20
