"""A test's view of instances: their start, their reuse, and the reason for their retirement."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.guests import wat
from wasi_trio.testing import ExchangeFailed, GuestFailed, Retirement, component
from wasi_trio.testing._running import CAPTURED
from wasi_trio.wasi._context import WasiContext


async def test_instances_of_wasi_0_2() -> None:
    async with component(wat.source("counter")) as app:
        assert (app.started, app.live, app.instances) == (0, 0, [])
        for number in (1, 2):
            response = await app.get()
            assert (response.instance, await response.text()) == (number, "1\n")
        await app.settled()
        assert (app.started, app.live) == (2, 0)
        assert [str(instance) for instance in app.instances] == [
            "instance 1 of the component: 1 request, reuse-count",
            "instance 2 of the component: 1 request, reuse-count",
        ]


@pytest.mark.parametrize("name", ["counter", "p3_counter"])
async def test_an_instance_that_is_used_again(name: str, autojump_clock: MockClock) -> None:
    async with component(wat.source(name), max_instance_reuse_count=3, idle_instance_timeout=10) as app:
        answers = []
        for _ in range(3):
            answers.append(await app.get())
            await app.idle()  # Before the end of the guest's call, another instance might answer.
        assert [await answer.text() for answer in answers] == ["1\n", "2\n", "3\n"]
        assert [answer.instance for answer in answers] == [1, 1, 1]
        assert await (await app.get()).text() == "1\n"
        await app.idle()
        first, second = app.instances
        assert (first.requests, first.retired) == (3, Retirement.REUSE_COUNT)
        assert (second.number, second.requests, second.alive, second.retired) == (2, 1, True, None)
        assert repr(second) == "<instance 2 of the component: 1 request, alive>"
        assert trio.current_time() < 10
        await app.settled()
        assert trio.current_time() >= 10
        assert (second.alive, second.retired) == (False, Retirement.IDLE)
    assert app.instances == [first, second]


async def test_requests_that_share_an_instance(autojump_clock: MockClock) -> None:
    async with component(wat.source("p3_sleep"), max_instance_concurrent_reuse_count=4) as app:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(app.get, "/1000")
        requests = [instance.requests for instance in app.instances]
        assert sum(requests) == 8
        assert max(requests) in (2, 3, 4)


async def test_idle_waits_for_what_a_guest_does_after_its_response(autojump_clock: MockClock) -> None:
    async with component(wat.source("p3_background"), idle_instance_timeout=60) as app:
        assert await (await app.get("/5000")).text() == "0\n"
        await app.idle()
        assert trio.current_time() >= 5
        assert app.live == 1
        assert await (await app.get("/0")).text() == "1\n", "it has counted what it did after its response"
        await app.settled()
        assert app.instances[0].retired is Retirement.IDLE


async def test_idle_ends_with_the_instance_of_a_guest_that_never_does(autojump_clock: MockClock) -> None:
    async with component(wat.source("p3_background"), post_response_timeout=2) as app:
        await app.get("/5000")
        await app.idle()
        assert 2 <= trio.current_time() < 5
        await app.settled()
        assert app.instances[0].retired is Retirement.DEADLINE


async def test_idle_waits_for_a_request_of_another_task(autojump_clock: MockClock) -> None:
    async with component(wat.source("sleep")) as app, trio.open_nursery() as nursery:
        nursery.start_soon(app.get, "/9000")
        await trio.testing.wait_all_tasks_blocked()
        await app.idle()
        assert trio.current_time() >= 9


@pytest.mark.parametrize(
    ("name", "limit", "reason"),
    [
        ("trap", None, Retirement.TRAP),
        ("p3_trap", None, Retirement.TRAP),
        ("exit", None, Retirement.EXIT),
        ("p3_exit", None, Retirement.EXIT),
        ("trap_in_start", None, Retirement.FAILED_TO_START),
        ("spin", 0.1, Retirement.DEADLINE),
    ],
)
async def test_why_an_instance_is_retired(name: str, limit: float | None, reason: Retirement) -> None:
    async with component(wat.source(name), request_timeout=limit) as app:
        with pytest.raises(ExchangeFailed):
            await app.get()
        await app.settled()
        assert [instance.retired for instance in app.instances] == [reason]
        assert app.instances[0].requests == (0 if name == "trap_in_start" else 1)


async def test_a_client_that_leaves_retires_an_instance(autojump_clock: MockClock) -> None:
    async with component(wat.source("sleep")) as app:
        with trio.move_on_after(1):
            await app.get("/60000")
        await app.settled()
        assert app.instances[0].retired is Retirement.CANCELLED


async def test_what_is_left_in_the_end() -> None:
    async with component(wat.source("p3_hello"), idle_instance_timeout=3600) as app:
        await app.get()
        assert app.live == 1
    assert app.live == 0
    assert app.instances[0].retired is Retirement.SHUTDOWN


async def test_a_listener_of_one_s_own_is_told_too() -> None:
    told: list[object] = []

    class Listener:
        def __init__(self, component: str) -> None:
            told.append(component)

        def instance_started(self, number: int) -> None:
            told.append(("started", number))

        def began(self, instance: int) -> None:
            told.append(("began", instance))

        def instance_ended(self, number: int, reason: Retirement) -> None:
            told.append(("ended", number, reason))

        def idle(self) -> None:
            told.append("idle")

    async with component(wat.source("hello"), listeners=[Listener]) as app:
        await app.get()
        await app.settled()
    assert told == ["the component", ("started", 1), ("began", 1), "idle", ("ended", 1, Retirement.REUSE_COUNT)]
    assert app.started == 1


class Printing:
    """A host interface whose function prints its argument, and fails at 9."""

    def __init__(self, context: WasiContext) -> None:
        self._context = context

    def work(self, which: int) -> None:
        self._context.stdout.put(b"worked on %d\n" % which)
        self._context.stderr.put(b"trouble with %d\n" % which)
        if which == 9:
            raise ValueError(which)

    async def later(self, which: int) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["host_call", "p3_host_call"])
async def test_what_each_instance_wrote(name: str) -> None:
    imports = {"acme:host/work": Printing}
    async with component(wat.source(name), imports=imports, max_instance_reuse_count=1) as app:
        for number in (1, 2):
            await app.get(f"/{number}")
        with pytest.raises(GuestFailed) as caught:
            await app.get("/9")
        await app.settled()
    assert [instance.stdout for instance in app.instances] == [f"worked on {n}\n" for n in (1, 2, 9)]
    assert [instance.stderr_bytes for instance in app.instances] == [b"trouble with %d\n" % n for n in (1, 2, 9)]
    assert app.stdout == "worked on 1\nworked on 2\nworked on 9\n"
    assert [instance.failed for instance in app.instances] == [False, False, True]
    (note,) = caught.value.__notes__
    assert note == "standard error of instance 3 of the component:\n    trouble with 9"
    titles = [title for title, _ in app.report()]
    assert titles[0] == "wasi_trio: the component: instances"
    assert titles[1] == "wasi_trio: instance 3 of the component: stdout", "the failed instance comes first"
    assert titles[3] == "wasi_trio: instance 1 of the component: stdout"


async def test_what_they_wrote_is_bounded_together() -> None:
    class Pouring(Printing):
        def work(self, which: int) -> None:
            for _ in range(which):
                self._context.stdout.permit()
                self._context.stdout.put(bytes(1 << 20))

    async with component(wat.source("host_call"), imports={"acme:host/work": Pouring}) as app:
        await app.get("/10")
        with pytest.raises(GuestFailed):
            await app.get("/10")
        assert len(app.stdout_bytes) == CAPTURED
        assert [len(instance.stdout_bytes) for instance in app.instances] == [10 << 20, 6 << 20]
