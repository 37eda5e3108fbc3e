"""Events from the system other than shutdown: hang-ups, and limits of the address space."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import at_a_terminal
from tests.e2e.process import command, on_disk
from tests.e2e.support import until

RELOADED = "Reloaded: nothing has changed"
linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS has no limit of the address space")


def limited(mebibytes: int) -> list[str]:
    return ["sh", "-c", f'ulimit -v {mebibytes << 10}; exec "$@"', "sh"]


async def test_a_hang_up_ends_no_server_and_no_request(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "echo")) as server, server.client() as client:
        await client.start("/echo", "POST", ("transfer-encoding", "chunked"))
        await client.write(b"first")
        assert (await client.head()).status == 200
        server.signal(signal.SIGHUP)
        await server.said(RELOADED)
        assert await client.content(5) == b"first"
        await client.write(b"second")
        assert await client.content(6) == b"second"
        await client.end()
        assert (await server.ask("/echo", "POST", b"x")).body == b"x"
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_a_hang_up_ends_no_worker(tmp_path: Path) -> None:
    """A service manager may send SIGHUP to each process of the service."""
    async with command(tmp_path, on_disk(tmp_path, "hello"), "--workers", "2", "--verbose") as server:
        await until(lambda: server.stderr.count(") serves") == 2)
        workers = _children(server.process.pid)
        assert len(workers) == 2
        for worker in workers:
            os.kill(int(worker), signal.SIGHUP)
        server.signal(signal.SIGHUP)
        await server.said(RELOADED)
        for _ in range(10):
            assert (await server.ask()).status == 200
        assert _children(server.process.pid) == workers
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert server.stderr.count(RELOADED) == 1


#: runs ``python -m MODULE``, which gets a signal from its own standard error right after its first line
SIGNALLED = """
import os, runpy, sys
number, sys.argv = int(sys.argv[1]), sys.argv[4:]
class Stderr:
    said = False
    def write(self, text):
        sys.__stderr__.write(text)
        if not self.said and "\\n" in text:
            sys.__stderr__.flush()
            self.said = True
            os.kill(os.getpid(), number)
    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)
sys.stderr = Stderr()
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def signalled(number: signal.Signals) -> list[str]:
    return [sys.executable, "-c", SIGNALLED, str(int(number))]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_hang_up_right_after_the_first_line_reloads(tmp_path: Path, workers: str) -> None:
    component = on_disk(tmp_path, "hello")
    before = signalled(signal.SIGHUP)
    async with command(tmp_path, component, "--workers", workers, before=before) as server:
        await until(lambda: RELOADED in server.stderr or "SIGHUP" in server.stderr)
        assert (await server.ask()).status == 200
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert server.stderr.count(RELOADED) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_right_after_the_first_line_ends_the_server_well(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    component = on_disk(tmp_path, "hello")
    async with command(tmp_path, component, "--workers", workers, before=signalled(number)) as server:
        assert await server.ended() == 0
        assert "Shutting down" in server.stderr
        assert "Traceback" not in server.stderr


def _children(pid: int) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
    return sorted(line.split()[1] for line in listed.splitlines() if line.split()[0] == str(pid))


def test_closing_a_terminal_ends_its_server(tmp_path: Path) -> None:
    path = str(on_disk(tmp_path, "hello"))
    with at_a_terminal("serve", "--addr", "127.0.0.1:0", path) as terminal:
        while (address := re.search(r"http://127\.0\.0\.1:(\d+)/", terminal.text)) is None:
            assert terminal.read(), terminal.text
        with socket.create_connection(("127.0.0.1", int(address[1]))) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        # Sent by hand, it reloads as usual.
        terminal.process.send_signal(signal.SIGHUP)
        while RELOADED not in terminal.text:
            assert terminal.read(), terminal.text
        # The kernel sends SIGHUP to the controlling process, which sends it to the processes that it started.
        terminal.close()
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(timeout=60) == 0


@linux
async def test_serving_with_limited_address_space(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "grow_memory"), before=limited(1024)) as server:
        assert "each guest memory has at most 64 MiB" in server.stderr
        for _ in range(3):
            assert (await server.ask("/hello")).status == 200


@linux
def test_the_message_about_the_required_address_space(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", str(on_disk(tmp_path, "hello"))]
    done = subprocess.run([*limited(600), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("wasi_trio: error: the address space is limited to 600 MiB")
    assert "guests require at least 1024 MiB" in done.stderr
    assert done.stderr.count("\n") == 1


@linux
def test_a_command_with_limited_address_space(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "wasi_trio", "run", str(on_disk(tmp_path, "command"))]
    done = subprocess.run([*limited(1024), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "Hello, world!\n")
