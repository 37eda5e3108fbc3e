"""Guests are sampled while they compute, and the resulting profiles can be read."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from tests.e2e.support import until
from wasi_trio.component._imports import Imports
from wasi_trio.runtime import _profile_sampling as sampling
from wasi_trio.runtime._component import Component
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._instance import Instance
from wasi_trio.runtime._profile_file import (
    MAX_DEPTH,
    MORE_CALLERS,
    NOT_TAKEN,
    PIECE_SIZE,
    TOO_MANY_STACKS,
    ProfileError,
    Recorded,
    RequestSpan,
    Samples,
    StackTree,
    read,
    write,
)
from wasi_trio.runtime._profile_options import GuestProfile
from wasi_trio.runtime._profile_sampling import module_name

#: Calls of `hot` and `warm` that wait for three samples and one sample, and recursion to a given depth.
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
    """``sample`` makes a sample due for the guest. ``rest`` waits, and samples are requested meanwhile."""

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
        engine.ticker.beat = None  # only requested samples are taken
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


@pytest.mark.parametrize(("seconds", "written"), [(0.01, 0), (5.0, 1)])
async def test_an_instance_that_only_waited_long_has_a_file(seconds: float, written: int, tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        assert instance.profile is not None
        span = instance.profile.begin_request("GET", "/")
        span.ended = span.began + seconds
        instance.close()
    assert len(files(tmp_path)) == written
    for file in files(tmp_path):
        assert stacks(file) == {}
        markers = json.loads(file.read_text())["threads"][0]["markers"]["data"]
        assert [marker["type"] for marker in markers] == ["Request"]  # with an interval of one hour, this is no pause


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


def number_of(notes: list[str], what: str) -> int:
    """Return the number of omitted items that a note states."""
    (note,) = [note for note in notes if what in note]
    return int("".join(filter(str.isdigit, note)))


async def test_the_newest_samples_are_kept_and_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_SAMPLES", 6)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        for _ in range(3):
            await instance.call("work")
        await instance.call("rest")
        instance.close()
    (file,) = files(tmp_path)
    kept = stacks(file)
    assert 3 <= sum(kept.values()) <= 6
    assert kept[("resting", "warm", "leaf")] == 1
    assert number_of(read(file.read_text()).notes, "samples were omitted") == 13 - sum(kept.values())


async def test_dropped_samples_do_not_count_as_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(file: Path) -> list[tuple[float, float]]:
        content = json.loads(file.read_text())
        markers = content["threads"][0]["markers"]
        columns = zip(markers["data"], markers["startTime"], markers["endTime"], strict=True)
        return [(start, end) for data, start, end in columns if data["type"] == "Waiting"]

    monkeypatch.setattr(sampling, "MAX_SAMPLES", 4)
    with opened(tmp_path / "p.json") as engine:
        assert engine.profiler is not None
        instance = await Instance.instantiate(linked(engine))
        assert instance.profile is not None
        before = instance.profile.begin_request("GET", "/before")
        for _ in range(10):
            await instance.call("work")
        before.ended = instance.profile.since
        span = instance.profile.begin_request("GET", "/")
        for _ in range(3):
            await instance.call("work")
        engine.profiler.interval = 0.0  # makes any time between two samples count as waiting
        await trio.to_thread.run_sync(engine.profiler.flush)
        since = instance.profile.since
        instance.close()
    (file,) = files(tmp_path)
    assert since > span.began
    assert waits(file)
    assert min(start for start, _ in waits(file)) >= since * 1000
    data = json.loads(file.read_text())["threads"][0]["markers"]["data"]
    assert not any("computed" in marker for marker in data)


async def test_limits_of_all_instances_are_released_at_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_TOTAL_SAMPLES", 5)
    with opened(tmp_path / "p.json") as engine:
        component = linked(engine)
        profiler = engine.profiler
        assert profiler is not None
        room = profiler.room.left
        for _ in range(2):
            instance = await Instance.instantiate(component)
            await instance.call("work")
            await instance.call("work")
            instance.close()
            profiler.flush()
            assert (profiler.kept, profiler.requests, profiler.room.left) == (0, 0, room)
    assert all(3 <= sum(stacks(file).values()) <= 5 for file in files(tmp_path))


async def test_the_newest_requests_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_REQUESTS", 4)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        assert instance.profile is not None
        instance.profile.begin_request("GET", "/under-way")
        for number in range(8):
            span = instance.profile.begin_request("GET", f"/{number}")
            span.ended = span.began
        await instance.call("work")
        assert engine.profiler is not None
        assert engine.profiler.requests == len(instance.profile.requests)
        instance.close()
        assert engine.profiler.requests == 0
    (file,) = files(tmp_path)
    data = json.loads(file.read_text())["threads"][0]["markers"]["data"]
    requests = [marker["request"] for marker in data if marker["type"] == "Request"]
    assert requests[0] == "GET /under-way"
    assert requests[-1] == "GET /7"
    assert len(requests) <= 4
    assert number_of(read(file.read_text()).notes, "requests were omitted") == 9 - len(requests)


async def test_samples_without_a_stack_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_SHARE", -1)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("work")
        instance.close()
    (file,) = files(tmp_path)
    assert stacks(file) == {(NOT_TAKEN,): 4}
    assert number_of(read(file.read_text()).notes, "have no stack") == 4


async def test_the_stacks_of_all_instances_are_limited(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        assert engine.profiler is not None
        engine.profiler.room.left = 30
        component = linked(engine)
        instances = [await Instance.instantiate(component) for _ in range(4)]
        for instance in instances:
            await instance.call("deep", None, 20)
            engine.profiler.flush()
            assert engine.profiler.room.left >= -4  # each may record once that it has no room
        for instance in instances:
            instance.close()
        engine.profiler.flush()
        assert engine.profiler.room.left == 30
    assert [(TOO_MANY_STACKS,) in stacks(file) for file in files(tmp_path)] == [False, True, True, True]


async def test_the_number_of_files_written_at_once_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_FILES_PER_WINDOW", 2)
    monkeypatch.setattr(sampling, "WINDOW", 3600)
    with opened(tmp_path / "p.json") as engine:
        component = linked(engine)
        for _ in range(5):
            instance = await Instance.instantiate(component)
            await instance.call("work")
            instance.close()
        assert engine.profiler is not None
        counts = []
        for _ in range(2):
            engine.profiler._write(living=False)
            counts.append(len(files(tmp_path)))
        engine.profiler.flush()
        counts.append(len(files(tmp_path)))
    assert counts == [2, 4, 5]


def test_a_large_profile_is_made_piece_by_piece() -> None:
    """No other thread runs while one piece is made."""
    tree, samples = StackTree(), Samples()
    for number in range(10 * PIECE_SIZE):
        samples.add(number / 100, tree.number([(f"f{number % 50}", "m", 1)] * 3), 1)
    requests = [RequestSpan("GET", "/" + "x" * 100, number / 100, number / 100) for number in range(5 * PIECE_SIZE)]
    pieces = list(write(Recorded("large", 1, 0.0, 0.01, 0.0, 100.0, tree, {"guest": samples}, requests)))
    assert max(map(len, pieces)) < 250 * PIECE_SIZE
    assert sum(map(len, pieces)) > 1000 * PIECE_SIZE
    (thread,) = json.loads("".join(pieces))["threads"]
    assert thread["samples"]["length"] >= 10 * PIECE_SIZE
    assert thread["markers"]["length"] >= 5 * PIECE_SIZE


async def test_a_deep_stack_keeps_its_innermost_frames(tmp_path: Path) -> None:
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("deep", None, 2000)
        instance.close()
    (file,) = files(tmp_path)
    (stack,) = stacks(file)
    assert len(stack) == MAX_DEPTH + 1
    assert (stack[0], stack[-2:]) == (MORE_CALLERS, ("hot", "leaf"))


async def test_different_stacks_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_trio.runtime._profile_file.MAX_STACKS", 20)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        for depth in range(40):
            await instance.call("deep", None, depth)
        instance.close()
    (file,) = files(tmp_path)
    assert stacks(file)[(TOO_MANY_STACKS,)] > 0
    assert sum(stacks(file).values()) == 40


async def test_only_the_newest_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_FILES", 2)
    with opened(tmp_path / "p.json") as engine:
        component = linked(engine)
        for _ in range(4):
            instance = await Instance.instantiate(component)
            await instance.call("work")
            instance.close()
    assert [file.stem.rsplit("-")[-1] for file in files(tmp_path)] == ["3", "4"]


async def test_a_failure_to_write_a_profile_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path / "none" / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("work")
        instance.close()
    (record,) = caplog.records
    assert "Cannot write the profile" in record.getMessage()


async def test_a_failing_window_loses_only_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("as asked for")

    monkeypatch.setattr(sampling, "WINDOW", 0.01)
    with opened(tmp_path / "p.json") as engine:
        instance = await Instance.instantiate(linked(engine))
        with monkeypatch.context() as broken:
            broken.setattr(sampling, "stack_reader", fail)
            await instance.call("work")
            await until(lambda: "Lost the" in caplog.text)
        await instance.call("work")
        instance.close()
    (file,) = files(tmp_path)
    assert sum(stacks(file).values()) == 4


async def test_without_profiling_nothing_runs() -> None:
    before = threading.active_count()
    with opened(None) as engine:
        instance = await Instance.instantiate(linked(engine))
        assert (engine.profiler, engine.ticker.beat, instance.profile) == (None, None, None)
        await instance.call("work")
        assert threading.active_count() <= before + 1  # the thread of the ticker
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
def test_other_files_are_refused(text: str) -> None:
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


#: A component inside a component. Each computes.
COMPOSITION = """
(component
  (component $Inner
    (core module $inner-code
      (func $inside (export "f") (local $count i32)
        (local.set $count (i32.const 100000000))
        (loop $again
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $again (local.get $count)))))
    (core instance $i (instantiate $inner-code))
    (func (export "f") (canon lift (core func $i "f"))))
  (component $Outer
    (import "f" (func $f))
    (core func $f' (canon lower (func $f)))
    (core module $outer-code
      (import "" "f" (func $f))
      (func $outside (local $count i32)
        (local.set $count (i32.const 100000000))
        (loop $again
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br_if $again (local.get $count))))
      (func (export "f") (call $outside) (call $f) (call $outside)))
    (core instance $i (instantiate $outer-code (with "" (instance (export "f" (func $f'))))))
    (func (export "f") (canon lift (core func $i "f"))))
  (instance $inner (instantiate $Inner))
  (instance $outer (instantiate $Outer (with "f" (func $inner "f"))))
  (export "f" (func $outer "f")))
"""


async def test_a_composition_has_a_thread_for_each_component_instance(tmp_path: Path) -> None:
    with Engine(cache=False, profile=GuestProfile(str(tmp_path / "p.json"), 0.001)) as engine:
        component = Component.compile(engine, bytes(wasmtime.wat2wasm(COMPOSITION))).link(Imports())
        instance = await Instance.instantiate(component)
        assert instance.profile is not None
        while len(instance.profile.parts) < 2:
            await instance.call("f")
            assert engine.profiler is not None
            await trio.to_thread.run_sync(engine.profiler.flush)
        instance.close()
    (file,) = files(tmp_path)
    modules = [
        {module for frames, _ in thread for _, module, _ in frames} for _, thread in read(file.read_text()).threads
    ]
    assert sorted(modules, key=min) == [{"inner-code"}, {"outer-code"}]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x04name", b"\x04name\x00", b"\x04name\x00\x05\xff", b"\x04name\x00\x03\x02\xff\xfe", b"\xff" * 9],
)
def test_a_malformed_name_section(content: bytes) -> None:
    """The specification treats such a module as valid."""
    assert module_name(b"\0asm\x01\0\0\0" + b"\0" + bytes([len(content)]) + content) == ""


async def test_links_in_place_of_the_file_are_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    path = tmp_path / "p.json"
    for name in ("p.json", "p.json.part"):
        (tmp_path / name).symlink_to(kept)
    with Engine(cache=False, profile=GuestProfile(str(path), 3600, numbered=False)) as engine:
        instance = await Instance.instantiate(linked(engine))
        await instance.call("work")
        instance.close()
    assert kept.read_text() == "kept"
    assert not path.is_symlink()
    read(path.read_text())
