"""``python -m benchmarks [NAME...]``: run all or selected benchmarks; ``--quick`` only checks that they run."""

from __future__ import annotations

import argparse
import time

from rich.console import Console

from benchmarks import floors
from benchmarks.measure import Settings
from benchmarks.registry import BENCHMARKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="Measure briefly, only to check that everything runs")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark: {', '.join(unknown)} (choose from {', '.join(BENCHMARKS)})")
    console = Console()
    if not console.is_terminal:
        console.width = 120
    began = time.monotonic()
    callback, instance = floors.measure(Settings(options.quick))
    settings = Settings(options.quick, callback, instance)
    floors.report(settings).print(console)
    met = total = 0
    for name in options.names or BENCHMARKS:
        report = BENCHMARKS[name](settings)
        report.print(console)
        aims = [met for row in report.rows for _, met in row.aims]
        met, total = met + sum(aims), total + len(aims)
    console.print(f"{met} of {total} aims met, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
