"""The cost of profiling: request rates with and without."""

from __future__ import annotations

import math
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers
from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from benchmarks.serving import REUSE, Load
from tests.guests import wat
from tests.guests.build import build


def report(settings: Settings) -> Report:
    """Measure the request rates of hello guests, CPU-bound guests and Python guests, with and without profiles."""
    report = Report("Profiles: serve --profile guest")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for what, guest, path, options in (
            ("WASI 0.3, hello", _guest(folder, "p3_hello"), "/", ()),
            ("WASI 0.3, 4 ms of computing", _guest(folder, "p3_compute"), "/1", ()),
            ("WASI 0.2, a new instance each", _guest(folder, "hello"), "/", ()),
            ("componentize-py, reused", build("python_p2"), "/hello", ("--max-instance-reuse-count", str(REUSE))),
            ("componentize-py, a new instance each", build("python_p2"), "/hello", ()),
        ):
            report.rows += _rows(what, folder, guest, path, options, settings)
    return report


def _guest(folder: Path, name: str) -> Path:
    path = folder / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return path


def _rows(what: str, folder: Path, guest: Path, path: str, options: tuple[str, ...], settings: Settings) -> list[Row]:
    profile = ("--profile", f"guest,{folder}/p.json")
    with servers.ours(guest, *options) as plain, servers.ours(guest, *options, *profile) as profiled:
        loads = Load(plain, path), Load(profiled, path)
        for load in loads:
            load.run(settings.seconds(0.5))
        # Many short alternating turns, so that other load on the machine affects both.
        for _ in range(settings.repetitions(12)):
            for load in loads:
                load.measure(settings.seconds(0.4))
    without, with_ = loads
    rows = [Row(what, with_.rate, "req/s", ("without", without.rate), ratio_at_least=0.9)]
    if not math.isnan(without.cost):
        rows.append(Row("processor time per request", with_.cost, "µs", ("without", without.cost)))
    return rows
