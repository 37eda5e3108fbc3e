"""The cost of routes: a server with a hundred routes, compared with one without, under the same load."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import trio

from benchmarks import servers
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.serving import CONNECTIONS, Load
from tests.guests import wat
from wasi_trio.runtime import Engine
from wasi_trio.serve.routing._declarations import parse_route
from wasi_trio.serve.routing._pools import Common, Pools
from wasi_trio.serve.routing._versions import Loader, read_versions
from wasi_trio.serve.settings._settings import Settings as ServerSettings
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request

ROUTES = 100
PATH = f"/service/{ROUTES // 2}/items?page=2"


def report(settings: Settings) -> Report:
    """Measure the request rate of one of a hundred routes, compared with a server without routes."""
    report = Report(f"One of {ROUTES} routes, over {CONNECTIONS} connections")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pairs: dict[str, tuple[Load, Load]] = {}
        for name, what in (
            ("p3_hello", "WASI 0.3, reused (default)"),
            ("hello", "WASI 0.2, a new instance each"),
        ):
            guest = folder / f"{name}.wasm"
            guest.write_bytes(wat.load(name))
            routes = [f"/service/{number}" for number in range(ROUTES)]
            options = [word for prefix in routes for word in ("--route", f"{prefix}={guest}")]
            plain = stack.enter_context(servers.ours(guest))
            routed = stack.enter_context(servers.ours(guest, *options))
            hosts = [word for route in routes for word in ("--route", f"localhost{route}={guest}")]
            by_host = stack.enter_context(servers.ours(guest, *hosts))
            beside = Load(plain, PATH)
            pairs[what] = Load(routed, PATH), beside
            pairs[f"{what}, by host and prefix"] = Load(by_host, PATH), beside
        for load in dict.fromkeys(load for pair in pairs.values() for load in pair):
            load.run(settings.seconds(1.0))
        for what, (routed_load, plain_load) in pairs.items():
            rates, costs = _ratios(routed_load, plain_load, settings)
            # The load of the machine varies, so the report has ratios of consecutive measurements.
            beside = ("without routes", plain_load.rate)
            report.rows.append(Row(what, rates * plain_load.rate, "req/s", beside, ratio_at_least=0.97))
            cost = ("without routes", plain_load.cost)
            report.rows.append(Row("  processor time per request", costs * plain_load.cost, "µs", cost))
        guest = folder / "p3_hello.wasm"
        routed, plain, ratio = trio.run(_without_sockets, guest, settings)
        aside = ("without routes", plain)
        what = "processor time per request, in one process without sockets"
        report.rows.append(Row(what, plain * ratio, "µs", aside, ratio_at_most=1.03))
        report.notes.append(
            "On a busy machine, the rates of two equal servers differ by more than the cost of routes. The last row "
            f"does not depend on that: with {ROUTES} routes it was {routed:.1f} µs."
        )
    return report


async def _without_sockets(guest: Path, settings: Settings) -> tuple[float, float, float]:
    """Return microseconds of processor time with and without routes, and the median of consecutive ratios."""
    with Engine() as engine:
        loader = Loader(engine)
        async with trio.open_nursery() as nursery:
            routed, plain = Pools(nursery, Common()), Pools(nursery, Common())
            declared = tuple(parse_route(f"/service/{number}={guest}") for number in range(ROUTES))
            for pools, told in ((routed, {"route": declared}), (plain, {"component": (str(guest),)})):
                asked = ServerSettings(told)
                await pools.adopt([loader.load(version, asked) for version in read_versions(asked)])
            count = 20 if settings.quick else 400
            taken: dict[Pools, list[float]] = {routed: [], plain: []}
            for turn in range(settings.repetitions(60) + 1):
                for pools in (routed, plain) if turn % 2 else (plain, routed):
                    start = time.process_time()
                    for _ in range(count):
                        request = Request("GET", "http", "localhost:8080", PATH, [], Body.empty())
                        (await pools.submit(request).wait()).body.close()
                    taken[pools].append((time.process_time() - start) / count * 1e6)
            ratios = [one / other for one, other in zip(taken[routed], taken[plain], strict=True)]
            nursery.cancel_scope.cancel()
    return statistics.median(taken[routed]), statistics.median(taken[plain]), statistics.median(ratios)


def _ratios(load: Load, beside: Load, settings: Settings) -> tuple[float, float]:
    """Return the median ratios of rates and of processor time, of consecutive measurements."""
    rates: list[float] = []
    costs: list[float] = []
    for turn in range(settings.repetitions(20)):
        for each in (load, beside) if turn % 2 else (beside, load):
            each.measure(settings.seconds(0.4))
        if load.latest[0] and beside.latest[0]:
            rates.append(load.latest[0] / beside.latest[0])
            costs.append(load.latest[1] / beside.latest[1])
    return statistics.median(rates or [math.nan]), statistics.median(costs or [math.nan])
