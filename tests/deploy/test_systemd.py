"""The systemd units, checked by systemd's tool, and the service's command line on a socket that outlives it."""

from __future__ import annotations

import configparser
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.balancer.load import Load
from tests.deploy.files import DEPLOY, option, options, seconds, tool
from tests.e2e.process import command, on_disk

SERVICE = DEPLOY / "wasi_trio.service"
SOCKET = DEPLOY / "wasi_trio.socket"


def section(path: Path, name: str) -> dict[str, str]:
    """Return the last value of each setting."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(re.sub(r"\\\n\s*", "", path.read_text()))
    return dict(parser[name])


START = shlex.split(section(SERVICE, "Service")["ExecStart"])


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with an existing program."""
    (folder := tmp_path / "units").mkdir()
    for unit in (SERVICE, SOCKET):
        (folder / unit.name).write_text(unit.read_text().replace(START[0], sys.executable))
    return folder


def analyzed(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool("systemd-analyze"), verb, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_accepts_them(units: Path) -> None:
    done = analyzed("verify", *units.iterdir())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_refuse_them(units: Path) -> None:
    service = units / SERVICE.name
    service.write_text(service.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "'WatchdogSecs'" in analyzed("verify", service).stderr


def test_the_service_is_confined(units: Path) -> None:
    """According to systemd's measure of exposure, where 100 is a service without any setting."""
    done = analyzed("security", "--offline=yes", "--threshold=20", "--no-pager", units / SERVICE.name)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd does not look at units that are not loaded")
    assert done.returncode == 0, done.stdout


def test_code_can_be_made() -> None:
    assert "MemoryDenyWriteExecute" not in section(SERVICE, "Service")


def test_start_and_stop_timeouts_suffice() -> None:
    service = section(SERVICE, "Service")
    assert service["Type"] == "notify"
    assert seconds(service["TimeoutStartSec"]) > 120  # --compile-timeout
    ends = seconds(option(START, "--drain-delay")) + seconds(option(START, "--drain-timeout"))
    assert seconds(service["TimeoutStopSec"]) > ends


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
async def test_nothing_is_lost_when_the_service_is_restarted(tmp_path: Path) -> None:
    """The test does systemd's part: servers follow each other on one socket."""
    assert option(START, "--addr") == "fd://3"
    component = on_disk(tmp_path, "hello")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        arguments = [*options(START), "--addr", f"fd://{descriptor}", "--drain-delay", "500ms"]
        port = listener.getsockname()[1]
        load = Load(lambda: port)
        ended, done = trio.Event(), trio.Event()

        async def visit() -> None:
            while not ended.is_set():
                await load.run(100)
            await load.run(200)
            done.set()

        async with trio.open_nursery() as nursery:
            # The first clients wait for a server.
            nursery.start_soon(visit)
            async with command(tmp_path, component, *arguments, descriptors=[descriptor]) as server:
                while load.sent < 100:  # noqa: ASYNC110 - it counts without telling
                    await trio.sleep(0.005)
                server.signal(signal.SIGTERM)
                assert await server.ended() == 0
            ended.set()
            async with command(tmp_path, component, *arguments, descriptors=[descriptor]):
                await done.wait()
    assert load.lost == []
