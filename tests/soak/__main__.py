"""``python -m tests.soak [--minutes 10] [--rounds 10]``: put servers under mixed load, and report the results."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import trio
from rich import box
from rich.console import Console
from rich.table import Table

from tests.soak.soak import PLANS, Course, soak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="minutes of load, without the rests (default: 10)")
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds, with a rest after each (default: 10)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the clients' random actions")
    options = parser.parse_args()
    if options.minutes <= 0 or options.rounds < 2:
        parser.error("--minutes must be positive, and --rounds at least 2")
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        courses = trio.run(soak, PLANS, Path(folder), options.minutes * 60, options.rounds)
    console = Console()
    if not console.is_terminal:
        console.width = 120
    for course in courses:
        show(course, console)
    problems = [problem for course in courses for problem in course.problems()]
    for problem in problems[:50]:
        console.print(problem, style="red", markup=False)
    console.print(f"seed {seed}: {len(problems)} problems" if problems else f"seed {seed}: all is well")
    sys.exit(bool(problems))


def show(course: Course, console: Console) -> None:
    table = Table(title=course.plan.title, box=box.SIMPLE, title_justify="left", title_style="bold", pad_edge=False)
    for heading in ("at rest", "memory, MB", "files", "tasks", "instances", "requests"):
        table.add_column(heading, justify="right")
    for number, reading in enumerate(course.readings):
        table.add_row(
            f"after {number}" if number else "before",
            f"{reading.memory / (1 << 20):.1f}",
            "not told" if reading.files is None else str(reading.files),
            str(reading.tasks),
            str(reading.instances),
            str(reading.requests),
        )
    console.print(table)
    visits = ", ".join(f"{count} {name}" for name, count in course.visits.most_common())
    retired = ", ".join(f"{count} {reason}" for reason, count in course.retired.items())
    console.print(f"visits: {visits}; {course.started} instances, ended by {retired}", highlight=False)
    console.print(f"memory in the second half: {course.growth / (1 << 20):+.1f} MB", highlight=False)


if __name__ == "__main__":
    main()
