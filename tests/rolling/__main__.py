"""``python -m tests.rolling``: replace, kill and stop three replicas behind a real HAProxy, and their store.

Each course runs under a bounded load of GET and POST on persistent connections. A final table reports losses. Only
requests in progress at a killed or stopped replica may be lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
import trio
from rich.console import Console
from rich.table import Table

from tests.balancer.haproxy import MODES, program
from tests.rolling.courses import Course, killed, replaced, stopped, storeless


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rolling", description=__doc__)
    parser.add_argument(
        "--requests", type=int, default=20000, help="number of requests for each rolling replacement (default: 20000)"
    )
    parser.add_argument("--mode", choices=MODES, action="append", help="Test only this mode; repeatable")
    options = parser.parse_args()
    if program() is None:
        print("haproxy is not installed: apt-get install haproxy", file=sys.stderr)
        return 2
    modes = options.mode or MODES
    plan = [partial(replaced, mode=mode, requests=options.requests) for mode in modes]
    plan += [partial(killed, mode=mode, requests=4000) for mode in modes]
    plan += [partial(what, mode="safe", requests=3000) for what in (stopped, storeless)]
    began = time.monotonic()
    courses = []
    for run in plan:
        with tempfile.TemporaryDirectory() as folder:
            try:
                courses.append(trio.run(run, Path(folder)))
            except pytest.skip.Exception as missing:
                print(missing, file=sys.stderr)
                return 2
    show(courses, time.monotonic() - began)
    problems = [problem for course in courses for problem in course.problems]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def show(courses: list[Course], seconds: float) -> None:
    table = Table(title=f"Three replicas behind HAProxy, in {seconds:.0f} s")
    for heading in ("what", "http-reuse", "GET", "POST", "counted", "refused", "lost", "may be"):
        table.add_column(heading, justify="right")
    for course in courses:
        numbers = (course.get, course.post, course.counter, course.refused, len(course.lost), course.may_lose)
        table.add_row(course.title, course.mode, *map(str, numbers))
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
