"""The option --wasi-trio-slow reports the guests with the most processor time."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.testing.test_plugin import ROOT, Suite

pytest_plugins = ["pytester"]

COMPUTES = """(component
  (core module $m (func (export "run") (result i32)
    (local $left i32)
    (local.set $left (i32.const 400_000_000))
    (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (func (export "compute") (result u32) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"""

TESTS = """
from wasi_trio.testing import component, exports, run

async def test_waits(autojump_clock):
    async with component("sleep.wat") as app:
        for _ in range(2):
            await app.get("/5000")

async def test_many():
    async with component("hello.wasm") as app:
        for _ in range(3):
            await app.get()

async def test_command():
    await run("computes.wat")

async def test_export():
    async with exports(lambda instance: instance, "computes.wat") as instance:
        await instance.call("compute")

def test_without_a_guest():
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    suite = Suite(pytester, monkeypatch)
    (pytester.path / "computes.wat").write_text(COMPUTES)
    return suite


def test_the_report(suite: Suite) -> None:
    result = suite.run(TESTS, "--wasi-trio-slow")
    result.assert_outcomes(passed=5)
    text = result.stdout.str()
    assert "wasi_trio: where guests took long" in text
    assert "the slowest 4 of 4 tests with guests, by the guests' processor time:" in text
    assert re.search(r"^ +[\d.]+ s +3 instances  test_it\.py::test_many$", text, re.MULTILINE)
    # The tests whose guests compute come first.
    first = re.findall(r"^ +[\d.]+ s +.* test_it\.py::(\w+)$", text, re.MULTILINE)
    assert set(first[:2]) == {"test_command", "test_export"}
    # The report gives waits in the time of the test's clock.
    assert re.search(r"waited 10\.\d\d\d s in 2 calls of wasi:clocks/monotonic-clock@\S+ \S*wait-for", text)
    assert "the slowest 3 of 3 components:" in text
    assert re.search(r"^ +[\d.]+ s +2 instances  computes\.wat$", text, re.MULTILINE)


def test_a_number(suite: Suite) -> None:
    result = suite.run(TESTS, "--wasi-trio-slow", "1")
    text = result.stdout.str()
    assert "the slowest 1 of 4 tests with guests" in text
    assert "test_many" not in text.partition("where guests took long")[2]


def test_no_guest(suite: Suite) -> None:
    result = suite.run("def test_it(): pass", "--wasi-trio-slow=3")
    result.stdout.fnmatch_lines(["*where guests took long*", "no test ran a guest"])


def test_a_bad_number(suite: Suite) -> None:
    result = suite.run(TESTS, "--wasi-trio-slow=0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--wasi-trio-slow*'0' is not a number of at least 1: write --wasi-trio-slow=10 before a file*"]
    )


def test_several_processes(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    xdist = pytest.importorskip("xdist", reason="pytest-xdist is not among the dependencies of these tests")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(xdist.__file__).parent.parent)]))
    suite.plugins.append("xdist.plugin")
    result = suite.run(TESTS, "--wasi-trio-slow", "-n", "2")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["the slowest 4 of 4 tests with guests, *", "the slowest 3 of 3 components:"])
