"""Calls of exports through bindgen's client, compared with untyped calls and alternatives."""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
import wasmtime

from benchmarks.measure import Settings
from benchmarks.report import Report, Row
from wasi_trio import Component, Engine, Imports, Instance
from wasi_trio.bindgen import generate

HERE = Path(__file__).parent.parent / "tests" / "bindgen"
MATH = "acme:math/math@1.0.0"
#: points in the list of a call
POINTS = 100

Run = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Point:
    x: int
    y: int


async def _pair(typed: Run, untyped: Run, settings: Settings) -> tuple[float, float]:
    """Return microseconds of both calls, measured alternately, because the speed of a machine varies."""
    count, elapsed = 1, 0.0
    for run in (typed, untyped):
        await run(10)
    while elapsed < settings.seconds(0.05):
        count *= 2
        start = time.process_time()
        await untyped(count)
        elapsed = time.process_time() - start
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(settings.repetitions(15)):
        for run, found in zip((typed, untyped), taken, strict=True):
            start = time.process_time()
            await run(count)
            found.append((time.process_time() - start) / count)
    return statistics.median(taken[0]) * 1e6, statistics.median(taken[1]) * 1e6


def _repeated(call: Callable[[], Awaitable[Any]]) -> Run:
    async def run(count: int) -> None:
        for _ in range(count):
            await call()

    return run


async def _measure(settings: Settings, made: Any, math: Any) -> Report:
    report = Report("Exports called through their typed client")
    with Engine() as engine:
        data = bytes(wasmtime.wat2wasm((HERE / "math.wat").read_text()))
        instance = await Instance.instantiate(Component.compile(engine, data).link(Imports()))
        app = made.Client(instance)
        point, figure, axes = math.Point(1, 2), math.Figure_Circle(3), {math.Axes.X}
        calls: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
            ("two numbers", lambda: app.math.add(1, 2), lambda: instance.call(MATH, "add", 1, 2)),
            ("a record", lambda: app.math.mirror(point), lambda: instance.call(MATH, "mirror", point)),
            (
                "a variant, an enum and flags",
                lambda: app.math.same(figure, math.Sign.ZERO, axes),
                lambda: instance.call(MATH, "same", ("circle", 3), "zero", {"x"}),
            ),
            (f"{POINTS} records", lambda: app.math.points(POINTS), lambda: instance.call(MATH, "points", POINTS)),
        ]
        try:
            for what, typed, untyped in calls:
                value, beside = await _pair(_repeated(typed), _repeated(untyped), settings)
                report.rows.append(Row(what, value, "µs", ("untyped", beside), ratio_at_most=1.1))

            async def converted(class_: Callable[[int, int], Any]) -> Any:
                return [class_(point.x, point.y) for point in await instance.call(MATH, "points", POINTS)]

            for name, class_ in (("named tuples", math.Point), ("frozen dataclasses", _Point)):
                run = _repeated(lambda class_=class_: converted(class_))  # type: ignore[misc]
                value, beside = await _pair(run, _repeated(calls[-1][2]), settings)
                report.rows.append(Row(f"instead: {POINTS} {name} made of results", value, "µs", ("untyped", beside)))
        finally:
            instance.close()
    return report


def report(settings: Settings) -> Report:
    """Measure a typed client compared with untyped calls of the same instance."""
    with tempfile.TemporaryDirectory() as folder:
        generate(HERE / "math.wit", Path(folder) / "typed_math")
        sys.path.insert(0, folder)
        try:
            made = importlib.import_module("typed_math")
            math = importlib.import_module("typed_math.exported.acme_math_math")
            return trio.run(_measure, settings, made, math)
        finally:
            sys.path.remove(folder)
