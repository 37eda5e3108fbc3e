"""Guests are sampled where they compute, and what comes of it can be read."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from wasi_trio.component._imports import Imports
from wasi_trio.runtime import _profile_sampling as sampling
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._profile_file import CROWDED, CUT, DEEPEST, ProfileError, read
from wasi_trio.runtime._profile_options import GuestProfile

#: calls of `hot` and `warm` that wait for three samples and for one, and recursion of a depth
GUEST = """(component
  (import "sample" (func $sample))
  (import "rest" (func $rest))
  (core func $sample' (canon lower (func $sample)))
  (core func $rest' (canon lower (func $rest)))
  (core module $m
    (import "" "sample" (func $sample))
    (import "" "rest" (func $rest))
    (func $leaf)
    (func $hot (call $sample) (call $leaf))
    (func $warm (call $sample) (call $leaf))
    (func $deep (param $n i32)
      (if (local.get $n) (then (call $deep (i32.sub (local.get $n) (i32.const 1))) (return)))
      (call $hot))
    (func $work (export "work") (call $hot) (call $hot) (call $hot) (call $warm))
    (func $entry (export "deep") (param i32) (call $deep (local.get 0)))
    (func $resting (export "rest") (call $rest) (call $warm)))
  (core instance $i (instantiate $m (with "" (instance
    (export "sample" (func $sample')) (export "rest" (func $rest'))))))
  (func (export "work") (canon lift (core func $i "work")))
  (func (export "deep") (param "n" u32) (canon lift (core func $i "deep")))
  (func (export "rest") (canon lift (core func $i "rest"))))
"""


class Host:
    """``sample``: a sample is due of the guest, once it goes on. ``rest`` waits, and is asked for samples."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sample(self) -> None:
        engine, profiler = self._engine, self._engine.profiler
        call, engine.host_call = engine.host_call, None
        if profiler is not None:
            profiler.beat()
        engine.host_call = call
        engine.ticker._increment_epoch()

    async def rest(self) -> None:
        assert self._engine.profiler is not None
        await trio.lowlevel.checkpoint()
        for _ in range(20):
            self._engine.profiler.beat()
            self._engine.ticker._increment_epoch()


def opened(path: Path | None) -> Engine:
    engine = Engine(cache=False, profile=None if path is None else GuestProfile(str(path), 3600))
    if path is not None:
        engine.ticker.beat = None  # no samples are taken but those that are asked for
    return engine


def linked(engine: Engine, wat: str = GUEST) -> Any:
    return Component.compile(engine, bytes(wasmtime.wat2wasm(wat))).link(Imports({"": Host(engine)}))


def stacks(path: Path) -> Counter[tuple[str, ...]]:
    counted: Counter[tuple[str, ...]] = Counter()
    for _, thread in read(path.read_text()).threads:
        for frames, weight in thread:
            counted[tuple(name for name, _, _ in frames)] += int(weight)
    return counted


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("p-*.json"))


async def test_the_function_that_computes_most_has_most_samples(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("work")
        instance.close()
    (file,) = files(tmp_path)
    counted = stacks(file)
    assert counted[("work", "hot", "leaf")] == 3
    assert counted[("work", "warm", "leaf")] == 1
    assert sum(counted.values()) == 4


async def test_a_guest_that_waits_is_not_sampled(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        assert instance.profile is not None
        instance.profile.begin_request("GET", "/")
        await instance.call("rest")
        instance.close()
    (file,) = files(tmp_path)
    assert list(stacks(file)) == [("resting", "warm", "leaf")]


async def test_each_instance_has_its_own_samples(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        component = linked(engine)
        first = await Instance.instantiate(component)
        second = await Instance.instantiate(component)
        idle = await Instance.instantiate(component)
        await first.call("work")
        await second.call("rest")
        await first.call("work")
        for instance in (first, second, idle):
            instance.close()
    one, two = files(tmp_path)
    assert sum(stacks(one).values()) == 8
    assert sum(stacks(two).values()) == 1


async def test_a_profile_can_be_written_while_its_instance_lives(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        assert engine.profiler is not None
        await instance.call("work")
        await trio.to_thread.run_sync(engine.profiler.flush)
        (file,) = files(tmp_path)
        assert sum(stacks(file).values()) == 4
        await instance.call("work")
        instance.close()
    assert files(tmp_path) == [file]
    assert sum(stacks(file).values()) == 8


async def test_samples_are_cut_at_a_limit_and_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SAMPLES", 6)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        for _ in range(3):
            await instance.call("work")
        instance.close()
    (file,) = files(tmp_path)
    assert sum(stacks(file).values()) == 6
    assert any("6 samples were left out" in note for note in read(file.read_text()).notes)


async def test_what_all_instances_have_is_limited_and_free_again_when_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "SAMPLES_IN_ALL", 5)
    with opened(tmp_path / "p.json") as engine:
        component = linked(engine)
        assert engine.profiler is not None
        for _ in range(2):
            instance = await Instance.instantiate(component)
            await instance.call("work")
            await instance.call("work")
            instance.close()
            engine.profiler.flush()
    assert [sum(stacks(file).values()) for file in files(tmp_path)] == [5, 5]


async def test_requests_are_cut_at_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "REQUESTS", 2)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        assert instance.profile is not None
        spans = [instance.profile.begin_request("GET", f"/{number}") for number in range(5)]
        assert [span is None for span in spans] == [False, False, True, True, True]
        await instance.call("work")
        instance.close()
    (file,) = files(tmp_path)
    assert any("3 requests were left out" in note for note in read(file.read_text()).notes)


async def test_a_deep_stack_keeps_its_innermost_frames(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("deep", None, 2000)
        instance.close()
    (file,) = files(tmp_path)
    (stack,) = stacks(file)
    assert len(stack) == DEEPEST + 1
    assert (stack[0], stack[-2:]) == (CUT, ("hot", "leaf"))


async def test_different_stacks_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_trio.runtime._profile_file.MOST_STACKS", 20)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        for depth in range(40):
            await instance.call("deep", None, depth)
        instance.close()
    (file,) = files(tmp_path)
    assert stacks(file)[(CROWDED,)] > 0
    assert sum(stacks(file).values()) == 40


async def test_only_the_newest_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FILES", 2)
    with opened(tmp_path / "p.json") as engine:
        component = linked(engine)
        for _ in range(4):
            instance = await Instance.instantiate(component)
            await instance.call("work")
            instance.close()
    assert [file.stem.rsplit("-")[-1] for file in files(tmp_path)] == ["3", "4"]


async def test_a_profile_that_can_not_be_written_is_logged_and_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "none" / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("work")
        instance.close()
    (record,) = caplog.records
    assert "cannot write the profile" in record.getMessage()


async def test_without_it_there_is_nothing_of_it() -> None:
    before = threading.active_count()
    with opened(None) as engine:
        instance = await Instance.instantiate(linked(engine))
        assert (engine.profiler, engine.ticker.beat, instance.profile) == (None, None, None)
        await instance.call("work")
        assert threading.active_count() <= before + 1  # the ticker
        instance.close()


async def test_a_guest_that_computes_for_long_is_sampled_by_the_clock(tmp_path: Path) -> None:
    wat = """(component
      (core module $m
        (func $busy (param $n i32)
          (loop $again
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $again (local.get $n))))
        (func $work (export "work") (call $busy (i32.const 2000000))))
      (core instance $i (instantiate $m))
      (func (export "work") (canon lift (core func $i "work"))))"""
    with Engine(cache=False, profile=GuestProfile(str(tmp_path / "p.json"), 0.001)) as engine:
        component = Component.compile(engine, bytes(wasmtime.wat2wasm(wat))).link(Imports({}))
        instance = await Instance.instantiate(component)
        assert engine.profiler is not None
        while engine.profiler.taken < 10:
            await instance.call("work")
        instance.close()
    (file,) = files(tmp_path)
    counted = stacks(file)
    assert counted[("work", "busy")] >= 9


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"meta": 1}', '{"meta": {"preprocessedProfileVersion": 99}}', "[" * 9999]
)
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(ProfileError):
        read(text)


async def test_the_tables_of_a_file_fit_together(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        assert instance.profile is not None
        span = instance.profile.begin_request("GET", "/one")
        await instance.call("work")
        assert span is not None
        span.ended = span.began
        instance.profile.begin_request("GET", "/two")
        instance.close()
    (file,) = files(tmp_path)
    content = json.loads(file.read_text())
    (thread,) = content["threads"]
    for name in ("frameTable", "funcTable", "resourceTable", "nativeSymbols", "stackTable", "samples", "markers"):
        table = thread[name]
        columns = {key: value for key, value in table.items() if isinstance(value, list)}
        assert {len(column) for column in columns.values()} == {table["length"]}, name
    times = thread["samples"]["time"]
    assert times == sorted(times)
    strings = thread["stringArray"]
    markers = thread["markers"]
    assert {strings[name] for name in markers["name"]} <= {schema["name"] for schema in content["meta"]["markerSchema"]}
    requests = [data["request"] for data in markers["data"] if data["type"] == "Request"]
    assert requests == ["GET /one", "GET /two"]
