"""``python -m benchmarks [NAME...]``: run all benchmarks or those named; ``--quick`` only sees that they run."""

from __future__ import annotations

import argparse
import time

from rich.console import Console

from benchmarks import floors
from benchmarks.measure import Settings
from benchmarks.registry import BENCHMARKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="hardly measure: only see that everything runs")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)} (there are: {', '.join(BENCHMARKS)})")
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
