"""The totals of several workers' reports."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._outcomes import Outcome
from wasi_trio.serve.process._admin import OwnSite
from wasi_trio.serve.process._readiness import Readiness
from wasi_trio.serve.process._reports import MAX_SIZE, Report, Totals, report_of


class Worker:
    """The metrics of one worker, and its connection to the supervisor."""

    def __init__(self, totals: Totals, number: int) -> None:
        self._totals = totals
        self._number = number
        self._metrics = Metrics()
        self.handler = self._metrics.of("guest.wasm")
        self.readiness = Readiness()

    async def report(self) -> None:
        # In pieces, as a socket may deliver it.
        encoded = report_of(OwnSite(self._metrics, self.readiness)).encode()
        await hear(self._totals, self._number, encoded[:3], encoded[3:100], encoded[100:])


async def hear(totals: Totals, number: int, *pieces: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(totals.receive, number, theirs)
        for piece in pieces:
            await ours.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await ours.aclose()


def lines(totals: Totals) -> list[str]:
    return totals.exposition().decode().splitlines()


async def test_counts_are_summed_and_outlive_their_worker() -> None:
    totals = Totals()
    one, other = Worker(totals, 1), Worker(totals, 2)
    one.handler.requests = {(Outcome.OK, "2xx"): 3}
    other.handler.requests = {(Outcome.OK, "2xx"): 4, (Outcome.DEADLINE, "5xx"): 1}
    one.handler.started, other.handler.started = 2, 1
    one.handler.response_seconds.observe(0.01)
    other.handler.response_seconds.observe(0.02)
    for worker in (one, other):
        await worker.report()
    ok = 'wasi_trio_requests_total{component="guest.wasm",outcome="ok",status="2xx"}'
    assert f"{ok} 7.0" in lines(totals)
    assert 'wasi_trio_requests_total{component="guest.wasm",outcome="deadline",status="5xx"} 1.0' in lines(totals)
    assert 'wasi_trio_response_seconds_bucket{component="guest.wasm",le="0.01"} 1.0' in lines(totals)
    assert 'wasi_trio_response_seconds_count{component="guest.wasm"} 2.0' in lines(totals)
    assert 'wasi_trio_instances_live{component="guest.wasm"} 3.0' in lines(totals)
    totals.ended(1)
    assert f"{ok} 7.0" in lines(totals)
    assert 'wasi_trio_response_seconds_count{component="guest.wasm"} 2.0' in lines(totals)
    assert 'wasi_trio_instances_live{component="guest.wasm"} 1.0' in lines(totals)
    assert "wasi_trio_workers 1.0" in lines(totals)
    assert "wasi_trio_workers_replaced_total 1.0" in lines(totals)
    later = Worker(totals, 1)
    later.handler.requests = {(Outcome.OK, "2xx"): 10}
    await later.report()
    assert f"{ok} 17.0" in lines(totals)


async def test_ready_while_one_worker_is_ready() -> None:
    totals = Totals()
    assert totals.obstacle == "starting"
    one, other = Worker(totals, 1), Worker(totals, 2)
    await one.report()
    assert totals.obstacle == "starting"
    await hear(totals, 2, Report(None).encode())
    assert totals.obstacle is None
    await hear(totals, 2, Report("stalled").encode())
    assert totals.obstacle == "stalled"
    totals.draining = True
    assert totals.obstacle == "draining"
    totals.ended(2)
    assert "wasi_trio_workers_replaced_total 0.0" in lines(totals)
    assert other.handler.started == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\0\0\2[]",
        b"\0\0\0\2{}",
        b"\0\0\0\1{",
        (MAX_SIZE + 1).to_bytes(4),
        b'\0\0\0\x22{"obstacle":1,"families":[[1,2,3]]}',
    ],
)
async def test_an_invalid_report(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    totals = Totals()
    await hear(totals, 1, sent)
    assert "worker 1 sent an invalid report" in caplog.text
    assert "wasi_trio_workers 0.0" in lines(totals)


async def test_a_report_that_ends_in_the_middle() -> None:
    totals = Totals()
    await hear(totals, 1, Report(None).encode(), b"\0\0\1\0{")
    assert totals.obstacle is None


async def test_a_silent_worker_is_not_ready() -> None:
    now = 0.0
    totals = Totals(lambda: now)
    pool = [{"worker": None, "obstacle": None, "handlers": []}]
    for number in (1, 2):
        await hear(totals, number, Report(None, [], pool).encode())
    now = 4.0
    await hear(totals, 2, Report(None, [], pool).encode())
    now = 8.0
    assert totals.obstacle is None
    assert [(process["worker"], process["obstacle"]) for process in totals.pool()] == [(1, "silent"), (2, None)]
    now = 10.0
    assert totals.obstacle == "silent"
    await hear(totals, 1, Report(None, [], pool).encode())
    assert totals.obstacle is None
