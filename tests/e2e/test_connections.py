"""20 connections with 5 requests each, in every mode of reuse: the exact number of instances.

Each guest waits on the test's clock. So the requests of a round are active together on any machine.
"""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from tests.e2e.support import content, handle, request
from wasi_trio.serve.pool._options import HandlerOptions

CONNECTIONS = 20
REQUESTS = 5


@pytest.mark.parametrize(
    ("guest", "options", "at_first", "started"),
    [
        pytest.param("p3_sleep", {}, [4, 16], 2, id="WASI 0.3 by default"),
        pytest.param("p3_sleep", {"max_instance_reuse_count": 1}, [1] * 20, 100, id="WASI 0.3 without reuse"),
        pytest.param(
            "p3_sleep",
            {"max_instance_concurrent_reuse_count": 1},
            [1] * 20,
            20,
            id="WASI 0.3 without concurrent reuse",
        ),
        pytest.param(
            "p3_sleep",
            {"max_instance_reuse_count": 10},
            [10, 10],
            10,
            id="WASI 0.3, used up before it is full",
        ),
        # An instance that waits within a synchronous call takes one request, whatever the options allow.
        pytest.param("p3_sync", {}, [1] * 20, 20, id="WASI 0.3 without callbacks"),
        pytest.param("sleep", {"max_instance_reuse_count": 100}, [1] * 20, 20, id="WASI 0.2 with reuse"),
        pytest.param("sleep", {"max_instance_reuse_count": 3}, [1] * 20, 40, id="WASI 0.2 with some reuse"),
        pytest.param("sleep", {}, [1] * 20, 100, id="WASI 0.2 by default"),
    ],
)
async def test_instances(
    guest: str,
    options: dict[str, int],
    at_first: list[int],
    started: int,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """``at_first`` are the requests of each instance in the first round, and ``started`` is the final number."""
    statuses: list[int] = []
    async with handle(guest, HandlerOptions(**options)) as pool:  # type: ignore[arg-type]

        async def connection() -> None:
            for _ in range(REQUESTS):
                response = await pool.handler.handle(request("/1000"))
                statuses.append(response.status)
                await content(response)

        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(connection)
            await trio.testing.wait_all_tasks_blocked()
            assert pool.handler.active == CONNECTIONS
            assert sorted(Counter(pool.instances).values()) == sorted(at_first)
        assert trio.current_time() == pytest.approx(REQUESTS)
        assert len(statuses) == CONNECTIONS * REQUESTS
        assert set(statuses) <= {200, 204}
        # On a busy machine a guest may still wait for the event loop when its next request arrives.
        assert started <= pool.handler.started == len(set(pool.instances)) <= started + 2
        assert max(Counter(pool.instances).values()) <= pool.handler.reuse_count
