"""Profiles of serving instances: their data about requests, and the times of writing."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.process import command, on_disk
from tests.e2e.support import content, request, until
from tests.guests import wat
from wasi_trio.runtime._engine import Engine
from wasi_trio.runtime._profile_file import read
from wasi_trio.runtime._profile_options import GuestProfile
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.pool._worker import Worker

#: One instance for all requests.
ONE = HandlerOptions(max_instance_reuse_count=10_000)


@asynccontextmanager
async def profiled(name: str, folder: Path, options: HandlerOptions = ONE) -> AsyncIterator[ProxyHandler]:
    with Engine(profile=GuestProfile(str(folder / "p.json"), 0.001)) as engine:
        async with ProxyHandler(link(engine, wat.load(name), f"{name}.wasm"), options) as handler:
            yield handler


async def ask(handler: ProxyHandler, path: str, method: str = "GET") -> None:
    response = await handler.handle(request(path, method))
    await content(response)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("p-*.json"))


def markers(file: Path, kind: str) -> list[dict[str, Any]]:
    thread = json.loads(file.read_text())["threads"][0]
    table = thread["markers"]
    rows = zip(table["name"], table["startTime"], table["endTime"], table["data"], strict=True)
    return [
        {"start": start, "end": end, **data} for name, start, end, data in rows if thread["stringArray"][name] == kind
    ]


def self_weights(file: Path) -> dict[str, float]:
    weights: dict[str, float] = {}
    for _, samples in read(file.read_text()).threads:
        for frames, weight in samples:
            weights[frames[-1][0]] = weights.get(frames[-1][0], 0) + weight
    return weights


async def test_markers_of_requests_and_the_hot_function_of_a_shared_instance(tmp_path: Path) -> None:
    async with profiled("p3_compute", tmp_path) as handler, trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(ask, handler, f"/20?secret={number}")
    (file,) = files(tmp_path)
    assert file.name.startswith("p-p3_compute-")
    assert file.name.endswith("-1.json")
    requests = markers(file, "Request")
    assert [found["request"] for found in requests] == ["GET /20"] * 16
    assert {found["status"] for found in requests} == {"200"}
    assert all(found["end"] > found["start"] for found in requests)
    assert max(found["others"] for found in requests) == 15
    assert all(found["computed"] > 0 for found in requests)
    assert "secret" not in file.read_text()


async def test_the_share_of_the_hot_function_of_16_concurrent_requests(tmp_path: Path) -> None:
    async with profiled("p3_shares", tmp_path) as handler:
        profiler = handler.component.engine.profiler
        assert profiler is not None
        asked = 0
        while profiler.taken < 1_500:  # sampling error: with this many samples it is 1 %
            async with trio.open_nursery() as nursery:
                for _ in range(16):
                    nursery.start_soon(ask, handler, "/10")
            asked += 16
    (file,) = files(tmp_path)
    weights = self_weights(file)
    assert max(weights, key=lambda name: weights[name]) == "hot"
    assert weights["hot"] / sum(weights.values()) == pytest.approx(0.8, rel=0.1)
    requests = markers(file, "Request")
    assert len(requests) == asked
    assert all(found["end"] > found["start"] for found in requests)


async def test_a_waiting_guest_is_shown_as_waiting(tmp_path: Path) -> None:
    async with profiled("p3_sleep", tmp_path) as handler:
        await ask(handler, "/100")
        assert handler.component.engine.profiler is not None
        await trio.to_thread.run_sync(handler.component.engine.profiler.flush)
        (file,) = files(tmp_path)
        (found,) = markers(file, "Request")
        waits = markers(file, "Waiting")
        assert sum(wait["end"] - wait["start"] for wait in waits) > 0.9 * 100
        assert found["computed"] <= 0.1 * (found["end"] - found["start"])


async def test_each_instance_has_a_file_without_reuse(tmp_path: Path) -> None:
    async with profiled("p3_compute", tmp_path, HandlerOptions(max_instance_reuse_count=1)) as handler:
        for _ in range(3):
            await ask(handler, "/30")
    assert [file.stem.rpartition("-")[2] for file in files(tmp_path)] == ["1", "2", "3"]
    assert {len(markers(file, "Request")) for file in files(tmp_path)} == {1}


async def test_a_python_guest_has_names(tmp_path: Path) -> None:
    from tests.guests.build import build

    data = build("python_p3").read_bytes()
    with Engine(profile=GuestProfile(str(tmp_path / "p.json"), 0.001)) as engine:
        async with ProxyHandler(link(engine, data, "python_p3"), ONE) as handler:
            assert engine.profiler is not None
            while engine.profiler.taken < 5:
                await ask(handler, "/")
    (file,) = files(tmp_path)
    names = {name for _, samples in read(file.read_text()).threads for frames, _ in samples for name, _, _ in frames}
    assert any(name.startswith("_PyEval") for name in names)


async def test_workers_without_profiles() -> None:
    with Engine() as engine:
        handler = ProxyHandler(link(engine, wat.load("p3_hello"), "hello"))
        assert handler._worker is Worker


async def test_a_signal_and_the_end_write_profiles(tmp_path: Path) -> None:
    component = on_disk(tmp_path, "p3_compute")
    options = ("--profile", f"guest,{tmp_path}/p.json,1ms", "--idle-instance-timeout", "60s")
    async with command(tmp_path, component, *options) as server:
        assert (await server.ask("/30")).status == 200
        assert files(tmp_path) == []
        server.signal(signal.SIGUSR2)
        await until(lambda: bool(files(tmp_path)))
        (file,) = files(tmp_path)
        assert file.name == f"p-p3_compute-{server.process.pid}-1.json"
        assert len(markers(file, "Request")) == 1
        assert (await server.ask("/30")).status == 200
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert len(markers(file, "Request")) == 2
        assert "Traceback" not in server.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_signal_does_not_kill_a_server_that_starts_or_ends(workers: str, tmp_path: Path) -> None:
    component = on_disk(tmp_path, "p3_compute")
    options = ("--profile", f"guest,{tmp_path}/p.json,1ms", "--workers", workers)
    async with command(tmp_path, component, *options) as server:
        server.signal(signal.SIGUSR2)  # its address is known before its event loop runs
        assert (await server.ask("/30")).status == 200
        server.signal(signal.SIGTERM)
        with suppress(ProcessLookupError):
            while server.process.poll() is None:
                server.signal(signal.SIGUSR2)
                await trio.sleep(0.001)  # some signals arrive after the handler is gone
        assert await server.ended() == 0
        assert files(tmp_path)
        assert "ended with" not in server.stderr


async def test_a_signal_reaches_all_workers(tmp_path: Path) -> None:
    component = on_disk(tmp_path, "p3_compute")
    options = ("--profile", f"guest,{tmp_path}/p.json,1ms", "--workers", "2", "--max-concurrent-connections", "1")
    async with command(tmp_path, component, *options, "--idle-instance-timeout", "60s") as server:
        async with server.client() as one, server.client() as other:
            assert (await one.ask("/30")).status == 200
            assert (await other.ask("/30")).status == 200
            server.signal(signal.SIGUSR2)
            await until(lambda: len(files(tmp_path)) == 2)
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert len({file.stem.split("-")[2] for file in files(tmp_path)}) == 2


@pytest.mark.parametrize("kind", ["perfmap", "jitdump"])
async def test_perf_receives_the_code(tmp_path: Path, kind: str) -> None:
    component = on_disk(tmp_path, "p3_hello")
    async with command(tmp_path, component, "--profile", kind) as server:
        assert (await server.ask("/")).status == 200
        pid = server.process.pid
        place = Path(f"/tmp/perf-{pid}.map") if kind == "perfmap" else Path(f"jit-{pid}.dump")
        assert place.stat().st_size > 0
        place.unlink()
