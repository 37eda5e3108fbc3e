"""The cost of telemetry: traces, and all telemetry at once, beside a server without.

If OTEL_BASELINE is the path of another checkout, its server is also measured, without telemetry.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.serving import REUSE, Load
from tests.e2e.process import on_disk

#: seconds between two scrapes of the metrics
SCRAPED_EVERY = 1.0
#: the environment variable with another checkout, such as the previous commit
BASELINE = "OTEL_BASELINE"


#: keeps instances alive between turns, because creating new ones would count
_KEPT = ("--idle-instance-timeout", "3600s")
#: a description, the name of the guest, the requested path, and options of the server
_GUESTS: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("WASI 0.3, hello", "p3_hello", "/", ()),
    ("WASI 0.3, 4 ms of computing", "p3_compute", "/1", ()),
    ("WASI 0.2, a new instance each", "hello", "/", ()),
    ("componentize-py (default)", "python_p2", "/hello", ()),
    ("componentize-py, reused", "python_p2", "/hello", ("--max-instance-reuse-count", str(REUSE))),
]


def report(settings: Settings) -> Report:
    """Measure the request rate and the processor time per request of hello guests."""
    report = Report("Telemetry: traces, and everything at once")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(servers.collector())
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"}
        everything = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
        for what, name, path, more in _GUESTS[: 1 if settings.quick else None]:
            guest = on_disk(folder, name)
            loads: dict[str, Load] = {}
            with ExitStack() as running:

                def start(
                    key: str,
                    *options: str,
                    environment: Mapping[str, str] | None = None,
                    running: ExitStack = running,
                    loads: dict[str, Load] = loads,
                    guest: Path = guest,
                    path: str = path,
                    more: tuple[str, ...] = more,
                ) -> servers.Server:
                    server: servers.Server = running.enter_context(
                        servers.ours(guest, *_KEPT, *more, *options, environment=environment)
                    )
                    loads[key] = Load(server, path)
                    return server

                start("off")
                start("traced", environment=traced)
                start("a hundredth", environment={**traced, **_SAMPLED})
                scraped = start(
                    "everything",
                    "--profile",
                    f"guest,{folder}/{name}.json",
                    "--access-log",
                    "json",
                    "--admin-addr",
                    "127.0.0.1:0",
                    environment=everything,
                )
                if BASELINE in os.environ:
                    start("before", environment={"PYTHONPATH": os.environ[BASELINE]})
                running.enter_context(_scraping(scraped))
                for load in loads.values():
                    load.run(settings.seconds(0.5))
                # Many short alternating turns, so that other load on the machine affects all of them.
                for _ in range(settings.repetitions(12)):
                    for load in loads.values():
                        load.measure(settings.seconds(0.4))
            report.rows += _rows(what, loads)
    return report


_SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}


def _rows(what: str, loads: dict[str, Load]) -> list[Row]:
    off = loads["off"]
    rows = [
        Row(f"{what}: all traced", loads["traced"].rate, "req/s", ("off", off.rate)),
        Row("one in a hundred traced", loads["a hundredth"].rate, "req/s", ("off", off.rate)),
        Row("everything at once", loads["everything"].rate, "req/s", ("off", off.rate), ratio_at_least=0.8),
    ]
    if "before" in loads:
        rows.append(Row("off", off.rate, "req/s", ("before", loads["before"].rate), ratio_at_least=0.98))
    if not math.isnan(off.cost):
        rows += [
            Row(f"processor time per request, {key}", loads[key].cost, "µs", ("off", off.cost))
            for key in ("traced", "a hundredth", "everything")
        ]
        if "before" in loads:
            rows.append(Row("processor time per request, off", off.cost, "µs", ("before", loads["before"].cost)))
    return rows


@contextmanager
def _scraping(server: servers.Server) -> Iterator[None]:
    """Scrape the metrics of a server repeatedly."""
    done = threading.Event()
    url = f"http://127.0.0.1:{server.admin_port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def scrape() -> None:
        while not done.wait(SCRAPED_EVERY):
            with opener.open(url, timeout=60) as response:
                response.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
