"""The cost of one request in calls from wasm to Python, Python functions, fibers and steps of trio tasks."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import trio

from benchmarks.application import REUSE, SCOPE, request
from benchmarks.measure import Settings, each_async
from benchmarks.report import Report, Row
from tests.guests import build, wat
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._fiber import Fiber
from wasi_trio.serve.asgi._application import Application
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi._imports import link_wasi

#: the name of guests that need a new instance for each request
_FRESH = "0.2, fresh"
#: requests to count; the report has the most frequent result
COUNTED = 25


@dataclass
class Counts:
    """The counts of one request."""

    crossings: Counter[str] = field(default_factory=Counter)
    functions: int = 0
    fibers: int = 0
    steps: int = 0


class _Steps(trio.abc.Instrument):
    """Counts the steps of trio's tasks."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


def _name(frame: FrameType) -> str:
    """Return the host function or built-in that a callback serves."""
    free = frame.f_locals
    func = free.get("func") or frame.f_globals.get("func")
    if func is not None:
        return str(func.name)
    act: Any = free.get("act")
    module = getattr(act, "__module__", "").rpartition(".")[2].strip("_")
    return f"{module}.{getattr(act, '__qualname__', type(act).__name__).partition('.<locals>')[0]}"


async def count(application: Any, scope: dict[str, Any]) -> Counts:
    """Send one request to an application, and count."""
    counts, steps = Counts(), _Steps()
    begin = Fiber.begin.__code__

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            counts.functions += 1
            if frame.f_code.co_name == "callback" or frame.f_code.co_filename.startswith("<host call "):
                counts.crossings[_name(frame)] += 1
            elif frame.f_code is begin:
                counts.fibers += 1

    trio.lowlevel.add_instrument(steps)
    sys.setprofile(profile)
    try:
        await request(application, dict(scope))
        # The guest's work after its response is part of the request.
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    finally:
        sys.setprofile(None)
        trio.lowlevel.remove_instrument(steps)
    counts.steps = steps.count - 10
    return counts


def _guests() -> list[tuple[str, Callable[[], bytes], str]]:
    """Return the guests: a name, a function that loads the component, and the path of its hello."""
    return [
        ("0.3, as wit-bindgen for Rust", lambda: wat.load("p3_hello_bindgen"), "/"),
        ("0.3, by hand", lambda: wat.load("p3_hello"), "/"),
        ("0.3, componentize-py", lambda: build.build("python_p3").read_bytes(), "/hello"),
        ("0.2, by hand", lambda: wat.load("hello"), "/"),
        ("0.2, componentize-py", lambda: build.build("python_p2").read_bytes(), "/hello"),
        *((f"{_FRESH}, componentize-js", path.read_bytes, "/") for path in _javascript()),
    ]


def _javascript() -> list[Path]:
    """Return the JavaScript example, if the tests have built it, which requires node."""
    built = build.cache_folder().glob("example-hello-js-*/app.wasm")
    return sorted(built, key=lambda path: path.stat().st_mtime)[-1:]


async def _measure(settings: Settings) -> Report:
    report = Report("The cost of one request, without a socket; instances are reused if possible")
    with Engine() as engine:
        for name, load, path in _guests()[: 2 if settings.quick else None]:
            linked = link_wasi(Component.compile(engine, load()))
            scope = {**SCOPE, "path": path, "raw_path": path.encode()}
            reuse = 1 if name.startswith(_FRESH) else REUSE
            async with ProxyHandler(linked, HandlerOptions(max_instance_reuse_count=reuse)) as handler:
                application = Application(handler, adds_date=True)
                for _ in range(COUNTED):
                    await request(application, dict(scope))
                counted = [await count(application, scope) for _ in range(COUNTED)]
                counts = statistics.mode([_figures(each) for each in counted])

                async def run(number: int, application: Any = application, scope: Any = scope) -> None:
                    for _ in range(number):
                        await request(application, dict(scope))

                microseconds = await each_async(run, settings, 0.3)
            for what, value in zip(("crossings", "Python functions", "fibers", "steps of tasks"), counts, strict=True):
                report.rows.append(Row(f"{name}: {what}", value, ""))
            report.rows.append(Row(f"{name}: processor time", microseconds, "µs"))
            report.notes.append(f"{name}: {_listed(counted[-1].crossings)}")
    return report


def _figures(counts: Counts) -> tuple[int, int, int, int]:
    return counts.crossings.total(), counts.functions, counts.fibers, counts.steps


def _listed(crossings: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in crossings.most_common())


def report(settings: Settings) -> Report:
    """Report the counts and the processor time of one request, by kind of guest."""
    return trio.run(_measure, settings)
