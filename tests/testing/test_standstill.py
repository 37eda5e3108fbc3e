"""Guests that read the clock in a loop while the test's clock stands still."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.guests import wat
from wasi_trio import Instance, Trap
from wasi_trio.testing import CpuTimeExceeded, Retirement, component, exports, run
from wasi_trio.testing import _standstill as standstill


def spinning(exported: str) -> str:
    """Return a component that reads the clock in a loop for an hour."""
    return f"""(component
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
      (core func $now (canon lower (func $clock "now")))
      (core module $Main
        (import "host" "now" (func $now (result i64)))
        (func (export "run") (result i32)
          (local $end i64)
          (local.set $end (i64.add (call $now) (i64.const 3_600_000_000_000)))
          (loop $again (br_if $again (i64.lt_u (call $now) (local.get $end))))
          (i32.const 0)))
      (core instance $main (instantiate $Main (with "host" (instance (export "now" (func $now))))))
      {exported})"""


COMMAND = spinning("""
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command))""")
FUNCTION = spinning('(func (export "run") (result u32) (canon lift (core func $main "run")))')


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "LIMIT", 0.2)


@pytest.mark.parametrize(
    ("name", "path"), [("spin", "/"), ("spin_in_start", "/"), ("p3_spin", "/0"), ("p3_spin", "/3")]
)
async def test_a_request(name: str, path: str, autojump_clock: MockClock) -> None:
    """The request's timeout follows the clock, so it never expires."""
    async with component(wat.source(name), request_timeout=5) as app:
        with pytest.raises(CpuTimeExceeded, match=r"used more than 0\.2 s of processor time") as caught:
            await app.get(path)
        assert any("stands still while a guest computes" in note for note in caught.value.__notes__)
        await app.settled()
        in_start = name == "spin_in_start"
        assert app.instances[0].retired is (Retirement.FAILED_TO_START if in_start else Retirement.CPU_TIME)


async def test_a_limit_of_the_test_s_own(autojump_clock: MockClock) -> None:
    async with component(wat.source("spin"), max_cpu_time=0.05) as app:
        with pytest.raises(CpuTimeExceeded, match=r"more than 0\.05 s"):
            await app.get()


async def test_a_command(autojump_clock: MockClock) -> None:
    with pytest.raises(Trap, match=r"while the clock stood still\. The test's MockClock stands still while a guest"):
        await run(COMMAND)


async def test_an_export(autojump_clock: MockClock) -> None:
    with pytest.raises(Trap, match="while the clock stood still"):
        async with exports(lambda instance: instance, FUNCTION) as instance:
            assert isinstance(instance, Instance)
            await instance.call("run")


async def test_a_real_clock_bounds_nothing_but_what_it_is_told() -> None:
    async with component(wat.source("spin"), request_timeout=0.5) as app:
        with pytest.raises(Exception, match="no response within") as caught:
            await app.get()
    assert not isinstance(caught.value, CpuTimeExceeded)
