"""State through the real command line: counters under load, a failing store, and secrecy."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.e2e.process import Process, command, on_disk
from tests.wasi.state.valkey import Valkey
from wasi_trio.wasi.keyvalue._bucket import TOO_LATE, UNREACHABLE

#: The guest ``state`` counts one visit.
VISIT = "/1"
CONFIG = ("--config-var", "greeting=hi")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path, "--requirepass", "hunter2")
    yield server
    server.kill()


def url_of(valkey: Valkey) -> str:
    return f"redis://:hunter2@127.0.0.1:{valkey.port}/1?prefix=shop:"


class Load:
    """Successive visitors. ``acknowledged`` counts those that were told their number."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.others: Counter[tuple[int, str]] = Counter()
        self.stop = False
        self.numbers: set[int] = set()
        self._visited = trio.lowlevel.ParkingLot()

    @property
    def failed(self) -> int:
        return self.others.total()

    async def visit(self, server: Process, times: int | None = None) -> None:
        done = 0
        while not self.stop and (times is None or done < times):
            done += 1
            async with server.client() as client:
                answer = await client.ask(VISIT)
            if answer.status == 200:
                self.acknowledged += 1
                self.numbers.add(int(answer.body))
            else:
                self.others[answer.status, answer.body.decode()] += 1
            self._visited.unpark_all()

    async def served(self, times: int) -> None:
        """Return when this many more were told their number."""
        wanted = self.acknowledged + times
        while self.acknowledged < wanted:
            await self._visited.park()

    async def refused(self, times: int) -> None:
        """Return when this many more were refused."""
        wanted = self.failed + times
        while self.failed < wanted:
            await self._visited.park()


async def test_several_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    options = (*CONFIG, "--workers", "2", "--keyvalue", f"default=sqlite:{path}")
    load = Load()
    async with command(tmp_path, on_disk(tmp_path, "state"), *options) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(load.visit, server, 25)
        assert (await server.ask("/2")).body == b"200"
        server.signal(signal.SIGKILL)  # kills the supervisor; its workers end, and acknowledged visits are kept
        await server.ended()
    assert load.others == {}
    assert load.numbers == set(range(1, 201))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT key, value FROM wasi_keyvalue").fetchall() == [("visits", b"200")]


async def test_a_store_restarted_under_load(tmp_path: Path, valkey: Valkey) -> None:
    options = (*CONFIG, "--keyvalue", f"default={url_of(valkey)}", "--request-timeout", "4s")
    load = Load()
    async with command(tmp_path, on_disk(tmp_path, "state"), *options, patience=120) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(load.visit, server)
            for _ in range(3):
                await load.served(100)
                valkey.kill()
                await load.refused(20)
                await trio.to_thread.run_sync(valkey.start)
            await load.served(100)
            load.stop = True
        total = int((await server.ask("/2")).body)
        assert "hunter2" not in server.stderr
        assert "Traceback" not in server.stderr
    # The guest was told of each failure, and no request hung until its deadline.
    assert set(load.others) <= {(503, UNREACHABLE), (503, TOO_LATE)}
    # No acknowledged increment is lost or counted twice. Increments that failed at the moment of a kill may have been
    # counted.
    assert len(load.numbers) == load.acknowledged
    assert load.acknowledged <= total <= load.acknowledged + load.failed
    assert load.failed >= 60


async def test_a_hanging_store_is_reported_before_the_deadline(tmp_path: Path, valkey: Valkey) -> None:
    options = (*CONFIG, "--keyvalue", f"default={url_of(valkey)}", "--request-timeout", "2s")
    async with command(tmp_path, on_disk(tmp_path, "state"), *options) as server:
        assert (await server.ask(VISIT)).body == b"1\n"
        valkey.signal(signal.SIGSTOP)
        answer = await server.ask(VISIT)
        assert (answer.status, answer.body.decode()) == (503, TOO_LATE)
        assert (await server.ask("/0")).body == b"hi"  # guests without a store are not affected
        valkey.signal(signal.SIGCONT)
        while True:
            answer = await server.ask("/2")
            if answer.status == 200:
                break
            await trio.sleep(0.05)
        assert answer.body in (b"1", b"2")


async def test_several_processes_share_a_server(tmp_path: Path, valkey: Valkey) -> None:
    options = (*CONFIG, "--workers", "2", "--keyvalue", f"default={url_of(valkey)}")
    load = Load()
    async with command(tmp_path, on_disk(tmp_path, "state"), *options) as server, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(load.visit, server, 25)
    assert load.others == {}
    assert load.numbers == set(range(1, 201))


async def test_secrets_are_not_revealed(tmp_path: Path, valkey: Valkey) -> None:
    (tmp_path / "settings.toml").write_text(
        f'[wasi_trio]\nverbose = true\n[wasi_trio.config-var]\ngreeting = "swordfish"\n'
        f'[wasi_trio.keyvalue]\ndefault = "redis://:opensesame@127.0.0.1:{valkey.port}"\n'
    )
    options = ("--hypercorn-config", str(tmp_path / "settings.toml"), "--admin-addr", "127.0.0.1:0")
    async with command(tmp_path, on_disk(tmp_path, "state"), *options) as server:
        assert (await server.ask("/0")).body == b"swordfish"
        answer = await server.ask(VISIT)
        assert (answer.status, answer.body.decode()) == (503, UNREACHABLE)
        assert (await server.ask("/3")).status == 200
        pages = ""
        for path in ("/pool", "/metrics", "/readyz"):
            pages += (await Process.ask(_admin(server), path)).body.decode()
        said = server.stderr + server.stdout + pages
        assert "Cannot connect to the store at 127.0.0.1" in said
        assert "wasi_trio.guest: shop: sold out\\nERROR forged: \\x1b[2J" in said
    for secret in ("swordfish", "opensesame", "hunter2"):
        assert secret not in said


def _admin(server: Process) -> Process:
    admin = Process(server.process, server.folder)
    admin.port = server.admin_port
    return admin


async def test_memory_outlives_instances(tmp_path: Path) -> None:
    options = ("-S", "config-var=greeting=hi,keyvalue,keyvalue-in-memory-data=visits=41")
    async with command(tmp_path, on_disk(tmp_path, "state"), *options, "--max-instance-reuse-count", "1") as server:
        assert (await server.ask("/0")).body == b"hi"
        assert [(await server.ask(VISIT)).body for _ in range(3)] == [b"42\n", b"43\n", b"44\n"]
