"""The server as a user runs it: started, asked and ended from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import pytest

from tests.guests import wat
from tests.guests.build import build


class Process:
    """``wasi_trio serve`` after it has printed its address."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.process = process
        self.stderr: IO[str] = process.stderr
        line = self.stderr.readline()
        match = re.fullmatch(r"Serving HTTP on (http://127\.0\.0\.1:(\d+)/)\n", line)
        assert match is not None, line + self.stderr.read()
        self.url = match[1]
        self.port = int(match[2])
        assert self.port != 0

    def get(self, path: str = "", **headers: str) -> str:
        request = urllib.request.Request(self.url + path, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return str(response.read().decode())

    def ends_well(self) -> str:
        """Return the further output on both streams."""
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        assert "Traceback" not in err
        return out + err


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", *arguments]
    env = {**os.environ, **environment}
    with subprocess.Popen(command, text=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def guest(folder: Path, name: str) -> str:
    path = folder / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return str(path)


def test_the_built_in_component() -> None:
    with serving() as server:
        page = server.get("some/path?q=1")
        assert "<h1>It works</h1>" in page
        assert "GET /some/path?q=1" in page
        server.process.send_signal(signal.SIGINT)
        server.ends_well()


def test_without_a_cache(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with serving(guest(tmp_path, "hello"), HOME=str(file), XDG_CACHE_HOME=str(file)) as server:
        assert server.get() == "Hello, world!\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_active_requests_finish_after_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with serving(guest(tmp_path, "sleep")) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /700 HTTP/1.1\r\nhost: x\r\n\r\n")
        # A second request, answered after the first was received, shows that the first is active.
        assert server.get("0") == "slept\n"
        server.process.send_signal(number)
        answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"slept\n" in answer
        assert "Shutting down" in server.ends_well()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with serving(guest(tmp_path, "sleep")) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /3600000 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.get("0") == "slept\n"
        server.process.send_signal(signal.SIGTERM)
        assert "Shutting down" in server.stderr.readline()
        server.process.send_signal(signal.SIGTERM)
        server.ends_well()


def test_shutdown_by_a_connection(tmp_path: Path) -> None:
    with serving("--shutdown-addr", "127.0.0.1:0", guest(tmp_path, "hello")) as server:
        match = re.fullmatch(r"Listening for shutdown on tcp://127\.0\.0\.1:(\d+)/\n", server.stderr.readline())
        assert match is not None
        assert server.get() == "Hello, world!\n"
        socket.create_connection(("127.0.0.1", int(match[1]))).close()
        server.ends_well()


def test_headers_reach_the_guest(tmp_path: Path) -> None:
    more = tmp_path / "headers"
    more.write_text("X-Three: 3\n")
    with serving("-H", "x-one: 1", "--header", "User-Agent: other", "-H", f"@{more}") as server:
        page = server.get(**{"X-Two": "2"})
    for name, value in {"x-one": "1", "user-agent": "other", "x-three": "3", "x-two": "2"}.items():
        assert f"<tr><td>{name}</td><td>{value}</td></tr>" in page


def test_instances_are_reused(tmp_path: Path) -> None:
    component = guest(tmp_path, "counter")
    with serving(component) as server:
        assert [server.get() for _ in range(3)] == ["1\n", "1\n", "1\n"]
    with serving("--max-instance-reuse-count", "2", "--idle-instance-timeout", "60s", component) as server:
        assert [server.get() for _ in range(3)] == ["1\n", "2\n", "1\n"]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], ["stdout [1] :: a line on stdout", "stderr [1] :: a line on stderr"]),
        (["--no-logging-prefix"], ["a line on stdout", "a line on stderr"]),
    ],
)
def test_output_of_guests(tmp_path: Path, options: list[str], lines: list[str]) -> None:
    with serving(*options, guest(tmp_path, "stdout")) as server:
        assert server.get() == "printed\n"
        server.process.send_signal(signal.SIGTERM)
        printed = server.ends_well().splitlines()
    for line in lines:
        assert line in printed


def prints(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "wasi_trio", *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_a_client_that_reads_nothing(tmp_path: Path) -> None:
    with (
        serving("--send-timeout", "100ms", guest(tmp_path, "endless_body")) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as client,
    ):
        client.sendall(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.stderr.readline().endswith("Closed a connection: no progress in sending for 0.1 s\n")
        with pytest.raises(ConnectionResetError):
            while client.recv(1 << 20):
                pass


def test_help_and_version() -> None:
    assert prints("--help").startswith("Usage: python -m wasi_trio")
    assert prints("serve", "--help").startswith("Usage: python -m wasi_trio serve")
    assert re.match(r"wasi_trio \d+\.\d+\.\d+( \(compiled\))?\n", prints("--version"))


def test_a_chain_of_components(tmp_path: Path) -> None:
    with serving(guest(tmp_path, "p3_middleware"), guest(tmp_path, "hello")) as server:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(server.url, timeout=30) as response:
            assert response.headers["x-middleware"] == "passed"
            assert response.read() == b"Hello, world!\n"
        server.process.send_signal(signal.SIGTERM)
        server.ends_well()


def test_self_is_the_server(tmp_path: Path) -> None:
    """The guest may only send requests to its own server."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        elsewhere = f"http://127.0.0.1:{other.getsockname()[1]}/"
        with serving("--allow-outbound", "self", str(build("python_p2"))) as process:
            assert process.get("fetch?url=" + quote(f"{process.url}hello")) == "Hello, world!\n"
            with pytest.raises(urllib.error.HTTPError) as refused:
                process.get("fetch?url=" + quote(elsewhere))
            assert refused.value.code == 502
            assert b"Denied" in refused.value.read()
            process.process.send_signal(signal.SIGTERM)
            process.ends_well()
