"""Tests that leave something open, and the report about each."""

from __future__ import annotations

import pytest

from tests.guests import wat
from tests.testing.test_plugin import Suite

pytest_plugins = ["pytester"]

#: A component of WASI 0.3 that returns or passes on the readable end of a stream and keeps the writable end.
STREAMS = """(component
  (import "take" (func $take (param "s" (stream u8))))
  (type $stream (stream u8))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (core func $new (canon stream.new $stream))
  (core func $drop-writable (canon stream.drop-writable $stream))
  (core func $take' (canon lower (func $take)))
  (core module $m
    (import "" "new" (func $new (result i64)))
    (import "" "drop-writable" (func $drop-writable (param i32)))
    (import "" "take" (func $take (param i32)))
    (func (export "give") (result i32) (i32.wrap_i64 (call $new)))
    (func (export "hand") (param $ends i32)
      (local $both i64)
      (local.set $both (call $new))
      (call $take (i32.wrap_i64 (local.get $both)))
      (if (local.get $ends)
        (then (call $drop-writable (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))))))
  (core instance $i (instantiate $m (with "" (instance
    (export "new" (func $new)) (export "drop-writable" (func $drop-writable)) (export "take" (func $take'))))))
  (func (export "give") (result (stream u8)) (canon lift (core func $i "give")))
  (func (export "hand") (param "ends" u32) (canon lift (core func $i "hand"))))"""

TESTS = """
import os

import pytest
import trio

from wasi_trio import Component, Engine, Imports, Instance, WasiContext, link_wasi
from wasi_trio.testing import Network, component, exports

class Host:
    def __init__(self):
        self.taken = []

    def take(self, stream):
        self.taken.append(stream)

async def use():
    async with component("hello.wasm") as app:
        await app.get()

def client(instance):
    return instance

STREAMS = dict(imports=Imports({"": Host()}))

async def test_nothing(wasi_component):
    app = await wasi_component("hello.wasm")
    await app.get()

async def test_preopen(tmp_path):
    async with component("hello.wasm", preopens={"/data": tmp_path}) as app:
        await app.get()

async def test_descriptor(tmp_path):
    await use()
    os.open(tmp_path, os.O_RDONLY)

async def test_cycle(tmp_path):
    await use()
    kept = [open(tmp_path / "file", "w")]
    kept.append(kept)

async def test_instance():
    await use()
    engine = Engine()
    linked = link_wasi(Component.load(engine, "hello.wasm"))
    linked.name = "hello.wasm"
    await Instance.instantiate(linked, WasiContext())

async def test_stream_given():
    async with exports(client, "streams.wat", **STREAMS) as instance:
        await instance.call("give")

async def test_stream_taken():
    async with exports(client, "streams.wat", **STREAMS) as instance:
        await instance.call("hand", None, 0)

async def test_stream_closed():
    async with exports(client, "streams.wat", **STREAMS) as instance:
        async with await instance.call("give"):
            pass

async def test_stream_that_the_guest_has_ended():
    async with exports(client, "streams.wat", **STREAMS) as instance:
        await instance.call("hand", None, 1)

async def test_connection(autojump_clock):
    await use()
    network = Network()
    network.listen("10.0.0.5", 80)

async def test_work(autojump_clock):
    async with component("background.wat") as app:
        await app.get("/5000")

async def test_work_awaited(autojump_clock):
    async with component("background.wat") as app:
        await app.get("/5000")
        await app.idle()

async def test_client_that_leaves(autojump_clock):
    async with component("sleep.wat") as app:
        with trio.move_on_after(1):
            await app.get("/5000")

async def test_that_fails(tmp_path):
    await use()
    os.open(tmp_path, os.O_RDONLY)
    assert False

@pytest.mark.xfail
async def test_expected_to_fail(tmp_path):
    await use()
    os.open(tmp_path, os.O_RDONLY)
    assert False

async def test_skipped(tmp_path):
    await use()
    os.open(tmp_path, os.O_RDONLY)
    pytest.skip("in the middle")

@pytest.mark.wasi_allow_leaks
async def test_allowed(tmp_path):
    await use()
    os.open(tmp_path, os.O_RDONLY)

def test_without_a_component(tmp_path):
    os.open(tmp_path, os.O_RDONLY)

@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with open(tmp_path_factory.mktemp("x") / "file", "w") as file:
        yield file

@pytest.fixture
def closed(tmp_path):
    with open(tmp_path / "file", "w") as file:
        yield file

async def test_fixtures(opened, closed):
    await use()
"""

LEFT = {
    "descriptor": "*file descriptor [0-9]* was not closed: */test_descriptor0",
    "instance": "*an instance of hello.wasm was not closed (made at */test_it.py:*, in test_instance)",
    "stream_given": "*a StreamReader was not closed*",
    "stream_taken": "*a StreamReader was not closed*",
    "connection": "*a Listener was not closed (made at */test_it.py:*, in test_connection)",
    "work": "*instance 1 of background.wat still worked after its response when its block ended*`await app.idle()`*",
}


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    suite = Suite(pytester, monkeypatch)
    (pytester.path / "streams.wat").write_text(STREAMS)
    (pytester.path / "background.wat").write_text(wat.source("p3_background"))
    return suite


def test_what_is_left(suite: Suite) -> None:
    result = suite.run(TESTS, "-v")
    # pytest counts the test as passed and its teardown as an error.
    result.assert_outcomes(passed=16, failed=1, xfailed=1, skipped=1, errors=len(LEFT))
    for name, line in LEFT.items():
        result.stdout.fnmatch_lines([f"test_it.py::test_{name} leaves something open:", line])
        result.stdout.fnmatch_lines([f"ERROR test_it.py::test_{name} - *"])


def test_warnings(suite: Suite) -> None:
    result = suite.run(TESTS, "-k", "descriptor or instance", ini="[pytest]\ntrio_mode = true\nwasi_leaks = warn\n")
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines(["*PytestWarning: test_it.py::test_descriptor leaves something open:"])


def test_off(suite: Suite) -> None:
    result = suite.run(TESTS, "-k", "descriptor", ini="[pytest]\ntrio_mode = true\nwasi_leaks = off\n")
    result.assert_outcomes(passed=1)


def test_a_setting_that_is_none(suite: Suite) -> None:
    result = suite.run(TESTS, ini="[pytest]\ntrio_mode = true\nwasi_leaks = no\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*wasi_leaks is 'no'; it must be one of error, warn, off"])
