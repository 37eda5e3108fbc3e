"""Messages to a service manager: readiness, liveness and the end."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.process import command, on_disk
from tests.e2e.support import PATIENCE
from wasi_trio.serve.process._notify import ServiceManager

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no abstract Unix sockets")


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """Create a service manager's socket at such an address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.settimeout(PATIENCE)
        yield sock


async def hear(sock: socket.socket) -> list[str]:
    return (await trio.to_thread.run_sync(sock.recv, 4096)).decode().split("\n")


def waiting(sock: socket.socket) -> int:
    """Receive all waiting messages, and return their number."""
    count = 0
    sock.setblocking(False)
    try:
        while sock.recv(4096):
            count += 1
    except BlockingIOError:
        return count
    finally:
        sock.settimeout(PATIENCE)
    return count


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("abstract", [False, pytest.param(True, marks=linux)])
async def test_a_service_from_its_start_to_its_end(tmp_path: Path, workers: str, abstract: bool) -> None:
    address = f"@wasi_trio-{os.getpid()}-{workers}" if abstract else str(tmp_path / "notify")
    before = ["env", f"NOTIFY_SOCKET={address}", "WATCHDOG_USEC=200000"]
    with manager(address) as sock:
        options = ["--workers", workers]
        async with command(tmp_path, on_disk(tmp_path, "hello"), *options, before=before) as server:
            said = await hear(sock)
            lives = 0
            while "READY=1" not in said:
                assert said == ["WATCHDOG=1"]
                said = await hear(sock)
            # env has replaced itself by the server.
            assert said[:2] == ["READY=1", f"MAINPID={server.process.pid}"]
            assert (await server.ask()).status == 200
            while lives < 3:
                assert await hear(sock) == ["WATCHDOG=1"]
                lives += 1
            server.signal(signal.SIGTERM)
            while (said := await hear(sock)) == ["WATCHDOG=1"]:
                pass
            assert said[0] == "STOPPING=1"
            assert await server.ended() == 0
            assert "Traceback" not in server.stderr


async def test_a_blocked_loop_is_not_reported_as_alive(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as sock:
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}
        told = ServiceManager.from_environment(environment)
        assert environment == {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run, trio.Event())
            for _ in range(3):
                assert await hear(sock) == ["WATCHDOG=1"]
            waiting(sock)
            time.sleep(0.1)  # noqa: ASYNC251 - blocking is the purpose
            assert waiting(sock) == 0
            assert await hear(sock) == ["WATCHDOG=1"]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}, {"NOTIFY_SOCKET": "vsock:2:1234"}],
)
async def test_no_service_manager(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    told = ServiceManager.from_environment(environment)
    told.ready()
    assert ("Ignoring NOTIFY_SOCKET=vsock:2:1234" in caplog.text) is ("vsock" in str(told) + caplog.text)
    assert "Cannot send" not in caplog.text


@pytest.mark.parametrize("watchdog", ["0", "", "x", "-1", "²"])
async def test_an_invalid_watchdog(tmp_path: Path, watchdog: str) -> None:
    address = str(tmp_path / "notify")
    stop = trio.Event()
    stop.set()
    with manager(address) as sock:
        await ServiceManager.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": watchdog}).run(stop)
        assert (await hear(sock))[0] == "STOPPING=1"


async def test_a_watchdog_of_another_process(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    stop = trio.Event()
    stop.set()
    with manager(address) as sock:
        await ServiceManager.from_environment(environment).run(stop)
        assert (await hear(sock))[0] == "STOPPING=1"


def test_a_missing_manager_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready()
    assert "Cannot send READY=1" in caplog.text
