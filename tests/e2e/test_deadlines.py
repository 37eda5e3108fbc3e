"""A client is answered at its deadline, whatever the guest is in. How late is measured by ``benchmarks.deadlines``."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.support import engine, serve
from tests.guests.late import LATE, Late
from wasi_trio.runtime._engine import Limits
from wasi_trio.serve.pool._options import HandlerOptions

TIMEOUT = 0.3
#: seconds that a guest may hold up the event loop for: in none of these tests what ends it
NESTED = 30.0


@pytest.mark.parametrize("late", LATE, ids=str)
async def test_504_at_the_deadline(late: Late) -> None:
    """And again, after it and beside another guest: the event loop is in order, and the instance gone."""
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


async def test_spinning_in_post_return_has_a_limit_of_its_own() -> None:
    """The client has been answered by then, and others are answered meanwhile."""
    options = HandlerOptions(max_instance_reuse_count=9, request_timeout=NESTED, post_response_timeout=0.2)
    async with serve("spin_in_post_return", options) as site, serve("hello") as other:
        for number in (1, 2):
            assert (await site.ask()).body == b"answered\n"
            assert (await other.ask()).status == 200
            assert site.handler.started == number
        await site.all_gone()
