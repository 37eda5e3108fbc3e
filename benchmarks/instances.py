"""Creation and drop of instances, without a call."""

from __future__ import annotations

from typing import Any

import trio
import wasmtime

from benchmarks.measure import Settings, each_async
from benchmarks.report import Report, Row
from tests.guests import wat
from tests.guests.build import build
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._imports import link_wasi

SMALL = """(component
  (import "bench:host/calls" (instance $host (export "flat" (func (param "a" u32) (result u32)))))
  (core func $flat (canon lower (func $host "flat")))
  (core module $Main
    (import "host" "flat" (func $flat (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run") (result i32) (call $flat (i32.const 1))))
  (core instance $main (instantiate $Main (with "host" (instance (export "flat" (func $flat))))))
  (func (export "run") (result u32) (canon lift (core func $main "run"))))"""


class _Host:
    def flat(self, a: int) -> int:
        return a


async def _instances(linked: LinkedComponent, context: Any, settings: Settings) -> float:
    async def run(count: int) -> None:
        for _ in range(count):
            instance = await Instance.instantiate(linked, context)
            instance.close()

    return await each_async(run, settings)


async def _measure(settings: Settings) -> Report:
    report = Report("Instances, created and dropped")
    floor = ("floor", settings.instance)
    with Engine() as engine:
        small = Component.compile(engine, bytes(wasmtime.wat2wasm(SMALL)))
        value = await _instances(small.link(Imports({"bench:host/calls": _Host()})), None, settings)
        aim = settings.instance_aim(300)
        report.rows.append(Row("a small component: a memory, a host function", value, "µs", floor, at_most=aim))
        hello = link_wasi(Component.compile(engine, wat.load("hello")))
        value = await _instances(hello, WasiContext(), settings)
        report.rows.append(Row("the hello guest, with WASI", value, "µs", floor))
        if not settings.quick:
            # This takes a second with wasmtime's cache, and a minute without.
            python = link_wasi(Component.compile(engine, await trio.to_thread.run_sync(_python_guest)))
            value = await _instances(python, WasiContext(), settings)
            report.rows.append(Row("a componentize-py guest, with WASI", value, "µs", floor))
    return report


def _python_guest() -> bytes:
    return build("python_p2").read_bytes()


def report(settings: Settings) -> Report:
    """Measure a small component, and guests."""
    return trio.run(_measure, settings)
