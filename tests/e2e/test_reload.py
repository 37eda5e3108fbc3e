"""Changes while a server runs are loaded without losing a request, or refused with one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.process import Process, command
from tests.e2e.test_routes import ask, write
from tests.guests import wat

pytest.importorskip("watchfiles", reason="--watch needs watchfiles, which is an extra")

RELOADED = "Reloaded: new requests go to the new version of"
REFUSED = "Reload failed, and the old version stays in service:"


def version(number: int, name: str = "hello") -> bytes:
    """Create a component whose response names its version."""
    data = wat.load(name)
    assert data.count(b"Hello, world!\n") == 1
    return data.replace(b"Hello, world!\n", b"Hello, v%04d!\n" % number)


def greeting(number: int) -> bytes:
    return b"Hello, v%04d!\n" % number


def put(path: Path, data: bytes) -> Path:
    """Replace a file atomically, as careful programs do."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)
    return path


async def serves(server: Process, number: int, path: str = "/") -> None:
    """Return when this version answers."""
    while (await ask(server, path)).body != greeting(number):
        assert server.process.poll() is None, server.stderr
        await trio.sleep(0.01)


async def says(server: Process, text: str, times: int) -> None:
    while server.stderr.count(text) < times:
        assert server.process.poll() is None, server.stderr
        await trio.sleep(0.01)


class Load:
    """Clients that send requests on kept connections, and count every response."""

    def __init__(self, server: Process) -> None:
        self.bodies: Counter[bytes] = Counter()
        self.failures: list[object] = []
        self._server = server

    async def client(self) -> None:
        while True:
            async with self._server.client() as client:
                for _ in range(50):
                    try:
                        answer = await client.ask("/")
                    except Exception as error:
                        self.failures.append(error)
                        break
                    if answer.status != 200 or answer.cut:
                        self.failures.append((answer.status, answer.body))
                    self.bodies[answer.body] += 1

    async def more(self, count: int) -> None:
        """Return when this many more responses have arrived."""
        target = self.bodies.total() + count
        while self.bodies.total() < target and not self.failures:  # noqa: ASYNC110 - a process has no event
            await trio.sleep(0.01)


@asynccontextmanager
async def load(server: Process, clients: int = 8) -> AsyncIterator[Load]:
    running = Load(server)
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(running.client)
        yield running
        nursery.cancel_scope.cancel()
    assert running.failures == []


async def only_the_new(server: Process) -> list[dict[str, object]]:
    """Return the handlers once the replaced ones have ended with all their instances."""
    while len(handlers := await pool(server)) > 1:  # noqa: ASYNC110 - a process has no event
        await trio.sleep(0.01)
    return handlers


async def pool(server: Process) -> list[dict[str, object]]:
    """Return the handlers of all processes."""
    content = json.loads((await ask(server, "/pool.json", port=server.admin_port)).body)
    return [handler for process in content["processes"] for handler in process["handlers"]]


async def metric(server: Process, line: str) -> float:
    text = (await ask(server, "/metrics", port=server.admin_port)).body.decode()
    found = [each for each in text.splitlines() if each.startswith(f"wasi_trio_{line} ")]
    assert len(found) == 1, (line, found)
    return float(found[0].rpartition(" ")[2])


@pytest.mark.parametrize("name", ["hello", "p3_hello"])
async def test_a_swap_under_load_loses_nothing(tmp_path: Path, name: str) -> None:
    app = put(tmp_path / "app.wasm", version(0, name))
    options = ["--watch", "--admin-addr", "127.0.0.1:0", "--idle-instance-timeout", "60s", "--drain-timeout", "20s"]
    async with command(tmp_path, app, *options) as server:
        async with load(server) as running:
            for number in range(1, 5):
                await running.more(200)
                put(app, version(number, name))
                await says(server, RELOADED, number)
                # The new version answers requests that were sent after a swap.
                assert (await ask(server, "/")).body == greeting(number)
            await running.more(9)  # each of 8 clients may still await an answer of the old version
        assert set(running.bodies) == {greeting(number) for number in range(5)}
        handlers = await only_the_new(server)
        assert handlers[0]["generation"] == 5
        assert await metric(server, 'reloads_total{outcome="ok"}') == 4
        assert await metric(server, 'reloads_total{outcome="failed"}') == 0
        # The counts continue.
        label = f'component="{app}"'
        assert await metric(server, f'requests_total{{{label},outcome="ok",status="2xx"}}') >= running.bodies.total()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_the_old_version_finishes_its_requests(tmp_path: Path) -> None:
    app = put(tmp_path / "app.wasm", wat.load("echo"))
    async with command(tmp_path, app, "--watch", "--admin-addr", "127.0.0.1:0") as server, server.client() as client:
        await client.start("/echo", "POST", ("transfer-encoding", "chunked"))
        await client.write(b"first")
        assert (await client.head()).status == 200
        assert await client.content(5) == b"first"
        put(app, version(1))
        await serves(server, 1)
        states = {handler["generation"]: handler["draining"] for handler in await pool(server)}
        assert states == {1: True, 2: False}
        await client.write(b"second")
        assert await client.content(6) == b"second"
        await client.end()
        await only_the_new(server)


async def test_the_old_version_has_its_time_to_drain(tmp_path: Path) -> None:
    app = put(tmp_path / "app.wasm", wat.load("sleep"))
    options = ["--watch", "--drain-timeout", "200ms", "--admin-addr", "127.0.0.1:0"]
    async with command(tmp_path, app, *options) as server, server.client() as client:
        await client.start("/3600000")
        while not any(handler["in_progress"] for handler in await pool(server)):  # noqa: ASYNC110 - a process has no event
            await trio.sleep(0.01)
        put(app, version(1))
        assert (await client.head()).status == 503
        await serves(server, 1)
        await only_the_new(server)


async def test_broken_files_change_nothing(tmp_path: Path) -> None:
    """One line reports each, and the next valid file is served."""
    app = put(tmp_path / "app.wasm", version(0))
    good = version(1)
    async with command(tmp_path, app, "--watch", "--admin-addr", "127.0.0.1:0") as server:
        async with load(server, 2) as running:
            for times, broken in enumerate(
                [good[: len(good) // 2], b"", b"(component (oops", wat.load("unknown_import"), wat.load("command")], 1
            ):
                put(app, broken)
                await says(server, REFUSED, times)
            app.unlink()
            await says(server, f"cannot read {app}", 1)
            await running.more(50)
            assert set(running.bodies) == {greeting(0)}
            put(app, good)
            await serves(server, 1)
        lines = [line for line in server.stderr.splitlines() if REFUSED in line]
        assert len(lines) == 6
        assert "Traceback" not in server.stderr
        assert await metric(server, 'reloads_total{outcome="failed"}') == 6
        assert await metric(server, 'reloads_total{outcome="ok"}') == 1


async def test_a_slowly_written_file(tmp_path: Path) -> None:
    """In the end the complete file is served, whatever was reported about its parts."""
    app = put(tmp_path / "app.wasm", version(0))
    async with command(tmp_path, app, "--watch") as server:
        data = version(1)
        async with load(server, 2):
            async with await trio.open_file(app, "wb") as file:
                for start in range(0, len(data), 200):
                    await file.write(data[start : start + 200])
                    await file.flush()
                    await trio.sleep(0.002)
            await serves(server, 1)


def _in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _by_a_link(path: Path, data: bytes) -> None:
    """As ``ln -sfn`` does: a new link to a file next to it takes its place."""
    target = path.with_name(f"target-{hash(data)}")
    target.write_bytes(data)
    link = path.with_name("link.new")
    link.symlink_to(target.name)
    os.replace(link, path)


def _by_a_folder_s_link(path: Path, data: bytes) -> None:
    """As in a Kubernetes ConfigMap: app.wasm -> ..data/app.wasm, ..data -> ..1, and ..data is exchanged."""
    folder = path.parent
    fresh = folder / f"..{abs(hash(data))}"
    fresh.mkdir()
    (fresh / path.name).write_bytes(data)
    (folder / "..data_tmp").symlink_to(fresh.name)
    old = os.readlink(folder / "..data") if (folder / "..data").is_symlink() else None
    os.replace(folder / "..data_tmp", folder / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(f"..data/{path.name}")
    if old is not None:
        shutil.rmtree(folder / old)


def _with_its_folder(path: Path, data: bytes) -> None:
    """As a build does that begins with ``rm -r``."""
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    path.write_bytes(data)


@pytest.mark.parametrize("replace", [put, _in_place, _by_a_link, _by_a_folder_s_link, _with_its_folder])
async def test_ways_to_replace_a_file(tmp_path: Path, replace: Callable[[Path, bytes], object]) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    app = folder / "app.wasm"
    app.write_bytes(version(0))
    if replace is _by_a_folder_s_link:
        replace(app, version(0))
    async with command(tmp_path, app, "--watch") as server:
        for number in (1, 2, 3):
            replace(app, version(number))
            await serves(server, number)


async def test_several_changes_in_a_row(tmp_path: Path) -> None:
    app = put(tmp_path / "app.wasm", version(0))
    async with command(tmp_path, app, "--watch", "--admin-addr", "127.0.0.1:0") as server, load(server, 4):
        for number in range(1, 40):
            put(app, version(number))
        await serves(server, 39)
        await only_the_new(server)


async def test_a_hang_up_without_watching(tmp_path: Path) -> None:
    app = put(tmp_path / "app.wasm", version(0))
    async with command(tmp_path, app, "--admin-addr", "127.0.0.1:0") as server, load(server, 4) as running:
        put(app, version(1))
        await running.more(50)
        assert set(running.bodies) == {greeting(0)}
        server.signal(signal.SIGHUP)
        await serves(server, 1)
        put(app, b"broken")
        server.signal(signal.SIGHUP)
        await says(server, REFUSED, 1)
        assert (await ask(server, "/")).body == greeting(1)
        # Any number of times, also during a reload.
        for number in range(2, 12):
            put(app, version(number))
            server.signal(signal.SIGHUP)
        await serves(server, 11)
        assert await metric(server, 'reloads_total{outcome="failed"}') == 1


@pytest.mark.parametrize("by_hand", [False, True])
async def test_several_workers(tmp_path: Path, by_hand: bool) -> None:
    """All of them serve the new version in the end, and none serves an invalid one."""
    app = put(tmp_path / "app.wasm", version(0))
    options = ["--workers", "3", "--admin-addr", "127.0.0.1:0", "--verbose", *([] if by_hand else ["--watch"])]
    async with command(tmp_path, app, *options) as server:
        await says(server, ") serves", 3)
        async with load(server) as running:
            for number in (1, 2):
                await running.more(100)
                put(app, version(number))
                if by_hand:
                    server.signal(signal.SIGHUP)
                await says(server, RELOADED, number)
                seen = running.bodies.copy()
                await running.more(200)
                # The log line means that later requests get the new version.
                assert sum((running.bodies - seen)[greeting(old)] for old in range(number)) <= 8
            put(app, b"broken")
            if by_hand:
                server.signal(signal.SIGHUP)
            await says(server, REFUSED, 1)
        # A replacement worker serves the same as the others, whatever the file contains by then.
        (worker,) = [line for line in server.stderr.splitlines() if "worker 1 (process" in line and "serves" in line]
        os.kill(int(worker.partition("process ")[2].partition(")")[0]), signal.SIGTERM)
        await says(server, ") serves", 4)
        for _ in range(20):
            assert (await ask(server, "/")).body == greeting(2)
        assert await metric(server, 'reloads_total{outcome="ok"}') == 2
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


# ---- the configuration file ------------------------------------------------------------------------------


def config(folder: Path, *routes: str, head: str = "") -> Path:
    text = f"[wasi_trio]\n{head}\n" + "".join(f"[[wasi_trio.route]]\n{route}\n" for route in routes)
    new = write(folder, "new.toml", text)
    return new.rename(folder / "wasi_trio.toml")


@pytest.mark.parametrize("workers", [1, 2])
async def test_routes_come_and_go(tmp_path: Path, workers: int) -> None:
    a, b = (put(tmp_path / f"{name}.wasm", version(number)) for number, name in enumerate("ab"))
    first = f'prefix = "/a"\ncomponent = "{a}"'
    path = config(tmp_path, first)
    options = ["--hypercorn-config", str(path), "--workers", str(workers), "--admin-addr", "127.0.0.1:0", "--verbose"]
    async with command(tmp_path, None, *options) as server:
        if workers > 1:
            await says(server, ") serves", workers)
        assert (await ask(server, "/b")).status == 404
        # One more route. The unchanged one continues.
        config(tmp_path, first, f'prefix = "/b"\ncomponent = "{b}"\nstrip-prefix = true')
        server.signal(signal.SIGHUP)
        await says(server, f"{RELOADED} /b\n", 1)
        assert (await ask(server, "/a")).body == greeting(0)
        assert (await ask(server, "/b")).body == greeting(1)
        # Another option for one route, and the removal of the first.
        config(tmp_path, f'prefix = "/b"\ncomponent = "{a}"\nrequest-timeout = 5')
        server.signal(signal.SIGHUP)
        await says(server, f"{RELOADED} /a, /b\n", 1)
        assert (await ask(server, "/a")).status == 404
        assert (await ask(server, "/b")).body == greeting(0)
        if workers == 1:
            handlers = await only_the_new(server)
            assert (handlers[0]["route"], handlers[0]["generation"]) == ("/b", 2)
        # An error in any part changes nothing.
        for times, broken in enumerate(
            [
                ('prefix = "/b"\ncomponent = "/none.wasm"',),
                ('prefix = "/b"',),
                (f'prefix = "/b"\ncomponent = "{b}"', f'prefix = "/b/"\ncomponent = "{a}"'),
                (f'prefix = "/b"\ncomponent = "{b}"\nwhat = 1',),
            ],
            1,
        ):
            config(tmp_path, *broken)
            server.signal(signal.SIGHUP)
            await says(server, REFUSED, times)
        path.write_text("[wasi_trio\n")
        server.signal(signal.SIGHUP)
        await says(server, REFUSED, 5)
        assert (await ask(server, "/b")).body == greeting(0)
        assert "Traceback" not in server.stderr


async def test_changes_that_need_a_restart_are_logged(tmp_path: Path) -> None:
    a = put(tmp_path / "a.wasm", version(1))
    path = config(tmp_path, head=f'component = "{a}"')
    async with command(tmp_path, None, "--hypercorn-config", str(path)) as server:
        config(tmp_path, head=f'component = "{a}"\nmax-total-memory = "1GiB"\nworkers = 3\nrequest-timeout = 5')
        path.write_text("keep_alive_timeout = 7\n" + path.read_text())
        await serves(server, 1)  # it ignores a signal while it starts
        server.signal(signal.SIGHUP)
        await server.said(f"{RELOADED} /\n")
        lines = [line for line in server.stderr.splitlines() if "change only after a restart" in line]
        assert len(lines) == 1
        assert lines[0].endswith(": workers, max-total-memory, keep_alive_timeout")
        assert (await ask(server, "/")).body == greeting(1)


async def test_a_watched_configuration(tmp_path: Path) -> None:
    a, b = (put(tmp_path / f"{name}.wasm", version(number)) for number, name in enumerate("ab"))
    path = config(tmp_path, f'component = "{a}"', head="watch = true")
    async with command(tmp_path, None, "--hypercorn-config", str(path)) as server:
        await serves(server, 0)
        config(tmp_path, f'component = "{b}"', head="watch = true")
        await serves(server, 1)
        # The newly named file is watched as well.
        put(b, version(2))
        await serves(server, 2)


async def test_one_of_several_routes(tmp_path: Path) -> None:
    """An invalid file only affects its own routes."""
    a, b = (put(tmp_path / f"{name}.wasm", version(number)) for number, name in enumerate("ab"))
    routes = ["--route", f"/a={a}", "--route", f"/b={b}", "--route", f"/again={a}"]
    async with command(tmp_path, None, *routes, "--watch", "--admin-addr", "127.0.0.1:0") as server:
        put(a, b"broken")
        await says(server, REFUSED, 1)
        put(b, version(2))
        await serves(server, 2, "/b")
        assert (await ask(server, "/a")).body == (await ask(server, "/again")).body == greeting(0)
        put(a, version(3))
        await serves(server, 3, "/a")
        await serves(server, 3, "/again")
        generations = {handler["route"]: handler["generation"] for handler in await pool(server)}
        assert generations["/b"] == 2


async def test_a_swapped_folder_of_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    public = tmp_path / "public"
    public.symlink_to("one")
    async with command(tmp_path, None, "--route", f"/={public}/", "--watch") as server:
        assert (await ask(server, "/a.txt")).body == b"one"
        (tmp_path / "link").symlink_to("two")
        os.replace(tmp_path / "link", public)
        while (await ask(server, "/a.txt")).body != b"two":  # noqa: ASYNC110 - a process has no event
            await trio.sleep(0.01)
