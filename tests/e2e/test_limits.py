"""What bounds a request: deadlines of calls that can not be suspended, the queue, the time after the response."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.support import serve
from wasi_trio.serve import HandlerOptions


@pytest.mark.parametrize("path", ["/", "/1"])
async def test_a_guest_that_spins_where_it_can_not_be_suspended_is_held_to_the_deadline(path: str) -> None:
    async with serve("spin_in_realloc", HandlerOptions(request_timeout=0.1)) as site:
        answer = await site.ask(path)
        assert answer.status == 504
        await site.all_gone()


async def test_requests_beyond_the_queue_are_refused() -> None:
    options = HandlerOptions(max_concurrent_requests=1, max_queued_requests=1)
    async with serve("sleep", options) as site, trio.open_nursery() as nursery:
        statuses: list[tuple[int, str | None]] = []

        async def ask() -> None:
            answer = await site.ask("/100")
            statuses.append((answer.status, answer.headers.get("retry-after")))

        for _ in range(5):
            nursery.start_soon(ask)
    assert sorted(status for status, _ in statuses) == [200, 200, 503, 503, 503]
    assert all((retry is not None) == (status == 503) for status, retry in statuses)
