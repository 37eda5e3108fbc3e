"""``serve --admin-addr`` and ``--verbose``, as seen from outside."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_serve import Process, guest, serving


def admin_of(server: Process) -> Callable[[str], tuple[int, str]]:
    """Return a function that asks the admin address, which the second line of output names."""
    line = server.stderr.readline()
    match = re.fullmatch(r"Metrics and health on (http://127\.0\.0\.1:[1-9]\d*)/\n", line)
    assert match is not None, line
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str) -> tuple[int, str]:
        try:
            with opener.open(match[1] + path, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return ask


def test_metrics(tmp_path: Path) -> None:
    component = guest(tmp_path, "hello")
    with serving("--admin-addr", "127.0.0.1:0", component) as server:
        ask = admin_of(server)
        for _ in range(3):
            assert server.get() == "Hello, world!\n"
        # A response may arrive before its guest returns, which ends the request.
        lines: list[str] = []
        while f'wasi_trio_requests_total{{component="{component}",outcome="ok",status="2xx"}} 3.0' not in lines:
            status, text = ask("/metrics")
            assert status == 200
            lines = text.splitlines()
        assert f'wasi_trio_instances_started_total{{component="{component}"}} 3.0' in lines
        assert any(float(line.split()[1]) > 0 for line in lines if line.startswith("wasi_trio_tasks "))
        if sys.platform == "linux":
            assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        server.process.send_signal(signal.SIGTERM)
        server.ends_well()


def test_not_ready_while_draining(tmp_path: Path) -> None:
    with (
        serving("--admin-addr", "127.0.0.1:0", guest(tmp_path, "sleep")) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        ask = admin_of(server)
        client.sendall(b"GET /3600000 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.get("0") == "slept\n"
        assert ask("/readyz") == (200, "ok\n")
        server.process.send_signal(signal.SIGTERM)
        while (answer := ask("/readyz")) == (200, "ok\n"):
            pass
        assert answer == (503, "draining\n")
        assert ask("/healthz") == (200, "ok\n")
        server.process.send_signal(signal.SIGTERM)
        server.ends_well()


def test_an_occupied_admin_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = subprocess.run(
            [sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", "--admin-addr", address],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"wasi_trio: error: cannot listen on {address}: ")


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_verbose(tmp_path: Path, option: str) -> None:
    component = guest(tmp_path, "hello")
    with serving(option, component) as server:
        assert server.get("path?query") == "Hello, world!\n"
        server.process.send_signal(signal.SIGTERM)
        printed = re.sub(r"\d+\.\d ms", "N ms", server.ends_well()).splitlines()
    lines = [re.sub(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] ", "", line) for line in printed]
    assert [line for line in lines if line.startswith("INFO")] == [
        f"INFO wasi_trio.serve: instance 1 of {component} starts",
        "INFO wasi_trio.serve: GET /path?query 200 in N ms, instance 1: ok",
        f"INFO wasi_trio.serve: instance 1 of {component} ended after 1 request: reuse-count",
    ]


def test_not_verbose(tmp_path: Path) -> None:
    with serving(guest(tmp_path, "hello")) as server:
        assert server.get() == "Hello, world!\n"
        server.process.send_signal(signal.SIGTERM)
        (line,) = server.ends_well().splitlines()
    assert "] WARNING wasi_trio.serve: Shutting down" in line
