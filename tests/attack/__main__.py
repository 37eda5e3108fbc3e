"""``python -m tests.attack [NAME...] [--short]``: attack servers, and compare the figures with their limits."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import trio
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.report import number
from tests.attack.attacks import ATTACKS, Figure
from tests.attack.run import Course, run

#: processors that other processes may use without a warning
BUSY = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="part of the name of an attack, or the number of its kind"
    )
    parser.add_argument("--short", action="store_true", help="Run a tenth of each attack, as frequent checks do")
    options = parser.parse_args()
    chosen = [
        attack
        for attack in ATTACKS
        if not options.names
        or any(name == str(attack.kind) or (not name.isdigit() and name in attack.name) for name in options.names)
    ]
    if not chosen:
        parser.error(f"unknown attack; choose from {', '.join(attack.name for attack in ATTACKS)}")
    console = Console()
    if not console.is_terminal:
        console.width = 120
    began, busy = time.monotonic(), _busy_otherwise()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for attack in chosen:
            (course,) = trio.run(partial(run, [attack], Path(folder), short=options.short))
            show(course, console)
            problems += course.problems(always=options.short)
    for problem in problems:
        console.print(problem, style="red", markup=False, highlight=False)
    seconds = time.monotonic() - began
    console.print(f"{len(chosen)} attacks in {seconds:.0f} s: {len(problems) or 'no'} problems", highlight=False)
    others = (_busy_otherwise() - busy) / seconds
    if others > BUSY:
        console.print(
            f"other things used {others:.1f} processors of the machine: what does not hold may be due to that",
            style="yellow",
            highlight=False,
        )
    sys.exit(bool(problems))


def _busy_otherwise() -> float:
    """Return the seconds of processor time that other processes have used, or 0 if the system does not report it."""
    try:
        with open("/proc/stat") as file:
            fields = file.readline().split()
    except OSError:
        return 0.0
    used = sum(int(field) for field in fields[1:4]) / os.sysconf("SC_CLK_TCK")
    ours = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return used - sum(usage.ru_utime + usage.ru_stime for usage in ours)


def show(course: Course, console: Console) -> None:
    title = f"Kind {course.attack.kind}: {course.attack.name}"
    table = Table(title=title, box=box.SIMPLE, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("limit")
    for figure in course.figures:
        table.add_row(figure.what, f"{_number(figure.value)} {figure.unit}", _limit(figure))
    console.print(table)
    if course.fallen is not None:
        console.print(course.fallen, style="red bold", markup=False)
    for note in course.notes:
        console.print(note, style="dim", markup=False, highlight=False)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _limit(figure: Figure) -> Text:
    limits = []
    if figure.at_most is not None:
        limits.append(f"≤ {figure.at_most:g}")
    if figure.at_least is not None:
        limits.append(f"≥ {figure.at_least:g}")
    return Text(", ".join(limits), style="green" if figure.holds else "red bold")


if __name__ == "__main__":
    main()
