"""The deadlines of requests."""

from __future__ import annotations

import gc
import weakref

import trio
import trio.testing

from wasi_trio.serve.pool._deadlines import Deadlines
from wasi_trio.serve.pool._exchange import Exchange
from wasi_trio.serve.pool._states import Event
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request, Response


class Work:
    """An exchange's data, which supports weak references, unlike the exchange."""


def submitted(deadlines: Deadlines, seconds: float) -> Exchange:
    exchange = Exchange(Request("GET", "http", "x", "/", [], Body.empty()))
    exchange.work = Work()
    exchange.deadline = trio.current_time() + seconds
    deadlines.watch(exchange)
    exchange.advance(Event.PLACE)
    exchange.advance(Event.BEGIN)
    return exchange


async def test_answered_exchanges_are_freed_before_their_deadlines(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """This holds while an earlier exchange still waits. Its deadline is kept."""
    deadlines = Deadlines(nursery, 10)
    slow = submitted(deadlines, 10)
    kept: list[weakref.ref[Work]] = []
    for _ in range(1000):
        exchange = submitted(deadlines, 10)
        exchange.respond(Response(200, [], Body.empty()))
        kept.append(weakref.ref(exchange.work))
    del exchange
    gc.collect()
    assert sum(reference() is not None for reference in kept) < 200
    mock_clock.jump(11)
    await trio.testing.wait_all_tasks_blocked()
    assert slow.failure is not None
    assert slow.failure.status == 504
