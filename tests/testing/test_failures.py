"""Failures of guests, and the errors that a test gets."""

from __future__ import annotations

import traceback

import pytest
import trio
from trio.testing import MockClock

from tests.guests import wat
from tests.guests.build import build
from wasi_trio.testing import (
    DeadlinePassed,
    ExchangeFailed,
    GuestFailed,
    InstantiationFailed,
    Overloaded,
    ResponseCut,
    component,
)
from wasi_trio.wasi._context import WasiContext

BOTH = pytest.mark.parametrize("name", ["python_p2", "python_p3"])


def text(error: BaseException) -> str:
    """Return the error with its notes and causes, as a traceback shows it."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("name", ["trap", "p3_trap"])
async def test_a_trap_comes_with_its_backtrace(name: str) -> None:
    async with component(wat.source(name)) as app:
        with pytest.raises(GuestFailed, match="the guest trapped: wasm trap: wasm `unreachable`") as caught:
            await app.get()
    (backtrace,) = caught.value.__notes__
    assert "wasm backtrace" in backtrace
    assert "Main!" in backtrace
    assert text(caught.value).count("Traceback") == 1


@BOTH
async def test_a_trap_comes_with_what_the_guest_wrote(name: str) -> None:
    async with component(build(name)) as app:
        await app.get("/stdout")
        with pytest.raises(GuestFailed) as caught:
            await app.get("/trap")
        backtrace, stderr = caught.value.__notes__
        assert "wasm backtrace" in backtrace
        assert stderr.startswith(f"standard error of instance {app.started} of {build(name)}:\n    ")
        # With WASI 0.2 each request has its own instance, and the note is about the failed instance alone.
        assert ("a line on stderr" in stderr) is (app.started == 1)
        assert "a line on stderr" in app.stderr
        assert "RuntimeError: an exception that nothing in the guest catches" in stderr
        assert "RuntimeError: an exception that nothing in the guest catches" in app.stderr


@BOTH
async def test_a_response_that_is_cut(name: str) -> None:
    async with component(build(name)) as app:
        with pytest.raises(ResponseCut, match="GET /trap-in-body: internal-error: the guest trapped") as caught:
            await app.get("/trap-in-body")
        backtrace, stderr = caught.value.__notes__
        assert "wasm backtrace" in backtrace
        assert "RuntimeError: an exception when the response has begun" in stderr

        async with app.stream("GET", "/trap-in-body") as response:
            assert response.status == 200
            pieces = aiter(response)
            assert await anext(pieces) == b"begun\n"
            with pytest.raises(ResponseCut):
                await anext(pieces)


async def test_only_the_last_lines_are_shown() -> None:
    class Log:
        def __init__(self, context: WasiContext) -> None:
            self.stderr = context.stderr

        def work(self, number: int) -> None:
            self.stderr.put(b"".join(b"line %d\n" % n for n in range(100)))
            raise ValueError

        later = work

    async with component(wat.source("host_call"), imports={"acme:host/work": Log}) as app:
        with pytest.raises(GuestFailed) as caught:
            await app.get("/1")
    (stderr,) = caught.value.__notes__
    heading, *lines = stderr.splitlines()
    assert heading == "standard error of instance 1 of the component (the last 40 of 100 lines):"
    assert lines == [f"    line {n}" for n in range(60, 100)]


@pytest.mark.parametrize("name", ["host_call", "p3_host_call"])
async def test_a_host_function_that_fails(name: str) -> None:
    class Calls:
        def __init__(self, context: WasiContext) -> None:
            pass

        def work(self, number: int) -> None:
            raise ValueError(f"cannot do {number}")

        async def later(self, number: int) -> None:
            await trio.lowlevel.checkpoint()
            raise KeyError(number)

    async with component(wat.source(name), imports={"acme:host/work": Calls}) as app:
        with pytest.raises(GuestFailed, match="a host function failed: ValueError") as caught:
            await app.get("/7")
        assert isinstance(caught.value.__cause__, ValueError)
        assert "cannot do 7" in text(caught.value)
        with pytest.raises(GuestFailed, match="a host function failed: KeyError") as caught:
            await app.get("/700")
        assert isinstance(caught.value.__cause__, KeyError)


@BOTH
async def test_a_guest_that_exits(name: str) -> None:
    async with component(build(name)) as app:
        with pytest.raises(GuestFailed, match="exited with code 1"):
            await app.get("/exit?failed")


async def test_a_guest_that_answers_with_an_error() -> None:
    async with component(build("python_p3")) as app:
        with pytest.raises(GuestFailed, match="the guest answered with the error"):
            await app.get("/error")


async def test_a_guest_that_can_not_be_made() -> None:
    async with component(wat.source("trap_in_start")) as app:
        with pytest.raises(InstantiationFailed) as caught:
            await app.get()
    assert "wasm backtrace" in caught.value.__notes__[0]


async def test_a_deadline(autojump_clock: MockClock) -> None:
    async with component(wat.source("p3_sleep"), request_timeout=30) as app:
        with pytest.raises(DeadlinePassed, match="no response within 30 s"):
            await app.get("/60000")
        assert trio.current_time() == 30


async def test_too_many_requests(autojump_clock: MockClock) -> None:
    failed = 0

    async def ask() -> None:
        nonlocal failed
        try:
            await app.get("/1000")
        except Overloaded:
            failed += 1

    limits = {"max_concurrent_requests": 2, "max_queued_requests": 3}
    async with component(wat.source("sleep"), **limits) as app, trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(ask)
    assert failed == 4


async def test_a_status_of_the_component_s_own_is_no_failure() -> None:
    async with component(build("python_p2")) as app:
        assert (await app.get("/answer?status=500")).status == 500


async def test_a_component_behind_another_that_fails() -> None:
    """The first component sees an error, and answers with its own error."""
    async with component(wat.source("p3_middleware"), wat.source("trap"), idle_instance_timeout=3600) as app:
        with pytest.raises(ExchangeFailed, match="the guest answered with the error internal-error: the next handler"):
            await app.get()
        await app.idle()
        assert [str(instance) for instance in app.instances] == [
            "instance 1 of component 1: 1 request, alive",
            "instance 1 of component 2: 1 request, trap",
        ]
