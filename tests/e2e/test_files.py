"""Files of guests behind the server."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.cli.test_serve import serving
from tests.guests import wat
from tests.guests.build import build
from wasi_trio.testing import component


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "greeting").write_text("hello from a file\n")
    (tmp_path / "secret").write_text("secret\n")
    return folder


def asked(url: str) -> str:
    return f"file?path={url}"


def test_serving_with_directories(data: Path) -> None:
    with serving("--dir", f"{data}::/data", "--dir", f"{data}::/same::ro", str(build("python_p2"))) as server:
        assert server.get(asked("/data")) == "greeting\n"
        assert server.get(asked("/data/greeting")) == "hello from a file\n"
        assert server.get(asked("/data/new&write=written")) == "written"
        assert server.get(asked("/same/new")) == "written"
        for path in ("/same/new&write=again", "/data/../secret", "/etc/hostname", "/data/nope"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                server.get(asked(path))
            assert caught.value.code == 403
    assert (data / "new").read_text() == "written"


def test_directories_from_the_environment_and_a_file(data: Path, tmp_path: Path) -> None:
    guest = str(build("python_p2"))
    with serving(guest, WASI_TRIO_DIRS=f"{data}::/data\n{data}::/more::ro") as server:
        assert server.get(asked("/data/greeting")) == server.get(asked("/more/greeting")) == "hello from a file\n"
    configuration = tmp_path / "hypercorn.toml"
    configuration.write_text(f'[wasi_trio]\ndirs = ["{data}::/data"]\n')
    with serving("--hypercorn-config", str(configuration), "--workers", "2", guest) as server:
        assert server.get(asked("/data/greeting")) == "hello from a file\n"


def test_serving_text(tmp_path: Path) -> None:
    path = tmp_path / "hello.wat"
    path.write_text(wat.source("hello"))
    with serving(str(path)) as server:
        assert server.get() == "Hello, world!\n"


async def test_a_fifo_does_not_block_other_requests(data: Path) -> None:
    os.mkfifo(data / "fifo")
    async with component(build("python_p2"), preopens={"/data": data}) as app:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await (await app.get("/" + asked("/data/fifo"))).text())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            assert not answers
            assert await (await app.get("/" + asked("/data/greeting"))).text() == "hello from a file\n"
            assert not answers
            writer = os.open(data / "fifo", os.O_WRONLY)
            os.write(writer, b"at last\n")
            os.close(writer)
        assert answers == ["at last\n"]


async def test_a_client_that_leaves_while_its_guest_waits_for_a_file(
    data: Path, autojump_clock: trio.abc.Clock
) -> None:
    os.mkfifo(data / "fifo")
    before = len(os.listdir("/dev/fd"))
    async with component(build("python_p2"), preopens={"/data": data}) as app:
        with trio.move_on_after(5) as scope:
            await app.get("/" + asked("/data/fifo"))
        assert scope.cancelled_caught
        await app.settled()
        assert app.live == 0
    assert len(os.listdir("/dev/fd")) <= before + 1  # one for the preopen
