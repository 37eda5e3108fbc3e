"""A client gets its answer at the deadline, whatever its guest does. ``benchmarks.deadlines`` measures the delay."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.support import engine, serve
from tests.guests.late import LATE, Late
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._options import HandlerOptions

TIMEOUT = 0.3
#: The time for which a guest may block the event loop, in seconds. It never decides one of these tests.
NESTED = 30.0


@pytest.mark.parametrize("late", LATE, ids=str)
async def test_504_at_the_deadline(late: Late) -> None:
    """It also works a second time and next to another guest: the event loop is intact, and the instance is gone."""
    options = HandlerOptions(
        request_timeout=TIMEOUT, cancel_grace=0.1, idle_instance_timeout=0.1, limits=Limits(nested_seconds=NESTED)
    )
    async with serve(late.link(engine()), options) as site, serve("hello") as other:
        for _ in range(2):
            began = trio.current_time()
            answer = await site.ask(late.path)
            elapsed = trio.current_time() - began
            assert (answer.status, answer.body, answer.cut) == (504, b"Gateway Timeout\n", False)
            assert TIMEOUT <= elapsed < NESTED
            assert (await other.ask()).body == b"Hello, world!\n"
        await site.all_gone()


async def test_post_return_has_its_own_limit() -> None:
    """The client already has its response, and other requests are answered."""
    options = HandlerOptions(max_instance_reuse_count=9, request_timeout=NESTED, post_response_timeout=0.2)
    async with serve("spin_in_post_return", options) as site, serve("hello") as other:
        for number in (1, 2):
            assert (await site.ask()).body == b"answered\n"
            assert (await other.ask()).status == 200
            assert site.handler.started == number
        await site.all_gone()
