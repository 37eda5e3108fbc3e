"""Interrupting host calls from another thread affects the calls and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._errors import Trap
from wasi_trio.component._imports import Imports
from wasi_trio.runtime._component import Component, LinkedComponent
from wasi_trio.runtime._coroutines import abandon
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._host_calls import HostCallInterrupted
from wasi_trio.runtime._instance import Instance

GUEST = """(component
  (import "host" (instance $host
    (export "thing" (type $thing (sub resource)))
    (export "[constructor]thing" (func (result (own $thing))))
    (export "work" (func (result u32)))
    (export "later" (func (result u32)))
    (export "fails" (func (result (result u32))))))
  (alias export $host "thing" (type $thing))
  (core module $Memory
    (memory (export "memory") 1))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $new (canon lower (func $host "[constructor]thing")))
  (core func $drop (canon resource.drop $thing))
  (core func $work (canon lower (func $host "work")))
  (core func $later (canon lower (func $host "later")))
  (core func $fails (canon lower (func $host "fails") (memory $mem)))
  (core module $Main
    (import "host" "new" (func $new (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "work" (func $work (result i32)))
    (import "host" "later" (func $later (result i32)))
    (import "host" "fails" (func $fails (param i32)))
    (func (export "work") (result i32) (call $work))
    (func (export "later") (result i32) (call $later))
    (func (export "fails") (result i32) (call $fails (i32.const 0)) (i32.const 7))
    (func (export "drop") (result i32) (call $drop (call $new)) (i32.const 7)))
  (core instance $main (instantiate $Main (with "host" (instance
    (export "new" (func $new)) (export "drop" (func $drop))
    (export "work" (func $work)) (export "later" (func $later)) (export "fails" (func $fails))))))
  (func (export "work") (result u32) (canon lift (core func $main "work")))
  (func (export "later") (result u32) (canon lift (core func $main "later")))
  (func (export "fails") (result u32) (canon lift (core func $main "fails")))
  (func (export "drop") (result u32) (canon lift (core func $main "drop"))))
"""

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["the main thread", "another thread"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return a function that runs an async function under trio on a thread."""
    if request.param == "the main thread":
        return trio.run

    def run_elsewhere(main: Callable[[], Awaitable[None]]) -> None:
        failures: list[BaseException] = []

        def target() -> None:
            try:
                trio.run(main)
            except BaseException as error:  # raised again in the test's thread
                failures.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    return run_elsewhere


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Exceptions that nothing could handle, for example from a callback.

    An interruption may come while the interpreter runs a finalizer in the middle of a host call. That is a valid place:
    the end of the call finds that the call was interrupted.
    """
    seen: list[Any] = []

    def hook(unraisable: Any) -> None:
        in_callback = "ctypes" in (unraisable.err_msg or "")
        if in_callback or not isinstance(unraisable.exc_value, HostCallInterrupted):
            seen.append(str(unraisable.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    return seen


def link(engine: Engine, host: Any) -> LinkedComponent:
    return Component.compile(engine, bytes(wasmtime.wat2wasm(GUEST))).link(Imports({"host": host}))


def spin(seconds: float) -> None:
    """Compute for a while. A thread can be interrupted between any two bytecodes of this."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class Host:
    """Functions that take about as long as ``Hunter`` waits. ``ended`` counts the completed ones."""

    def __init__(self) -> None:
        self.ended = 0

    class Thing:
        def on_drop(self) -> None:
            spin(0.0002)

    def work(self) -> int:
        spin(0.0002)
        self.ended += 1
        return 7

    async def later(self) -> int:
        spin(0.0001)
        await trio.lowlevel.checkpoint()
        spin(0.0001)
        self.ended += 1
        return 7

    def fails(self) -> Any:
        spin(0.0002)
        raise OSError("a failure of the host's own")


class Hunter:
    """Interrupts every second host call that it sees, from a separate thread, as often as possible."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: The interrupted calls, each once.
        self.hit: list[Any] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Hunter:
        self.engine.interrupter.attach()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.engine.interrupter.detach()

    def _run(self) -> None:
        spared = None
        turn = 0
        while not self._stop.is_set():
            call = self.engine.host_call
            if call is None or call is spared:
                time.sleep(0)
                continue
            turn += 1
            if turn % 2:
                spared = call
                continue
            spin((turn % 10) * 0.00003)
            if self.engine.interrupter.interrupt(call) and not any(call is one for one in self.hit[-1:]):
                self.hit.append(call)


@pytest.fixture
def switching() -> Iterator[None]:
    """Make threads switch as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("function", ["work", "later", "drop"])
def test_calls_that_end_while_they_are_interrupted(
    function: str, run: Run, unraisable: list[Any], switching: None
) -> None:
    trapped = finished = 0

    async def main() -> None:
        nonlocal trapped, finished
        with Engine() as engine:
            linked = link(engine, Host())
            with Hunter(engine) as hunter:
                instance = await Instance.instantiate(linked)
                for _ in range(500):
                    try:
                        assert await instance.call(function) == 7
                        finished += 1
                    except Trap as trap:
                        assert "a host function was interrupted" in str(trap)
                        trapped += 1
                        instance.close()
                        instance = await Instance.instantiate(linked)
                    spin(0.00002)  # the host's own work, which the hunter must not interrupt
                instance.close()
            assert trapped == len(hunter.hit)
            assert engine.interruption is None and engine.host_call is None

    run(main)
    assert unraisable == []
    assert finished > 5 and trapped > 5


def test_a_call_that_fails_while_it_is_interrupted(run: Run, unraisable: list[Any], switching: None) -> None:
    trapped = failed = 0

    async def main() -> None:
        nonlocal trapped, failed
        with Engine() as engine:
            linked = link(engine, Host())
            with Hunter(engine) as hunter:
                for _ in range(500):
                    instance = await Instance.instantiate(linked)
                    try:
                        await instance.call("fails")
                    except Trap:
                        trapped += 1
                    except OSError:
                        failed += 1
                    instance.close()
            assert trapped == len(hunter.hit)

    run(main)
    assert unraisable == []
    assert failed > 5 and trapped > 5


async def rests() -> None:
    await trio.lowlevel.checkpoint()


async def sleeps() -> None:
    await trio.sleep_forever()


async def shields() -> None:
    await trio.lowlevel.cancel_shielded_checkpoint()
    await trio.sleep_forever()


async def waits_for_a_thread() -> None:
    await trio.to_thread.run_sync(lambda: None)
    await trio.sleep_forever()


async def holds_a_nursery_open() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


async def waits_for_its_children() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize(
    "function", [rests, sleeps, shields, waits_for_a_thread, holds_a_nursery_open, waits_for_its_children]
)
async def test_a_suspended_coroutine_is_ended(function: Any) -> None:
    coroutine = function()
    trap = coroutine.send(None)
    await abandon(coroutine, trap)
    assert coroutine.cr_frame is None
    await trio.lowlevel.checkpoint()  # the task is not registered with anything


_PROFILED = """
import subprocess
import sys
from wasi_trio.runtime._host_calls import _take_back

def work():
    return 7

_take_back()
sys.setprofile(lambda frame, event, argument: None)
result = work()
sys.setprofile(None)
print(result)
"""


def test_a_program_can_be_profiled_after_an_interruption_was_taken_back() -> None:
    """Uses a separate process, because CPython may come to a halt if it keeps checking for the exception."""
    ran = subprocess.run([sys.executable, "-c", _PROFILED], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.returncode) == ("7\n", 0), ran.stderr


_COLLECTED = """
import gc
import sys
from wasi_trio.runtime._host_calls import _take_back

class Finalized:
    def __init__(self):
        self.itself = self

    def __del__(self):
        for _ in range(3):
            pass

sys.unraisablehook = lambda unraisable: None
gc.set_threshold(1)
for _ in range(1000):
    Finalized()
    _take_back()
"""


def test_an_interruption_is_taken_back_even_if_a_finalizer_swallows_it() -> None:
    """In another process, which can hang without this one."""
    ran = subprocess.run([sys.executable, "-c", _COLLECTED], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
