"""A server in its own process, through the real command line."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.e2e.support import PATIENCE, Answer, Client
from tests.guests import wat
from tests.guests.build import ROOT, build


class Process:
    """The running command ``wasi_trio serve``, which listens on ``port`` of 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = 0
        self.shutdown_port = 0
        self.admin_port = 0

    @property
    def stdout(self) -> str:
        """All output so far."""
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def client(self) -> Client:
        return Client(self.port)

    async def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", *headers: tuple[str, str]) -> Answer:
        async with self.client() as client:
            return await client.ask(path, method, body, *headers)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end. Return the exit status."""
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)

    async def said(self, text: str) -> None:
        """Return when ``text`` is on its standard error."""
        while text not in self.stderr:
            assert self.process.poll() is None, self.stderr
            await trio.sleep(0.005)  # a file has no events

    def resident(self) -> int:
        """Return its resident memory in bytes."""
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024

    def open_files(self) -> int | None:
        """Return its number of open file descriptors. None on systems without /proc, because counting is expensive."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return len(list(folder.iterdir())) if folder.exists() else None


@asynccontextmanager
async def command(
    folder: Path,
    component: Path | str | None,
    *options: str,
    patience: float = PATIENCE,
    before: Sequence[str] = (),
    descriptors: Sequence[int] = (),
) -> AsyncIterator[Process]:
    """Run ``wasi_trio serve``, and yield it once its address is known. Kill it at the end if it is still running.

    ``patience`` is the timeout of the block in seconds. ``before`` precedes the command, as ``env`` could. The process
    inherits ``descriptors`` besides the standard ones.
    """
    process = _start(folder, component, options, before, descriptors)
    running = Process(process, folder)
    try:
        with trio.fail_after(patience):
            await running.said("Serving HTTP on http://")
            running.port = _port(r"Serving HTTP on http://127\.0\.0\.1:(\d+)", running.stderr)
            if "--admin-addr" in options:
                await running.said("Metrics and health on http://")
                running.admin_port = _port(r"health on http://127\.0\.0\.1:(\d+)", running.stderr)
            if "--shutdown-addr" in options:
                await running.said("Listening for shutdown on tcp://")
                running.shutdown_port = _port(r"shutdown on tcp://127\.0\.0\.1:(\d+)", running.stderr)
            yield running
    except trio.TooSlowError:
        raise AssertionError(f"after {patience:g} s it had said: {running.stderr}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _start(
    folder: Path,
    component: Path | str | None,
    options: Sequence[str],
    before: Sequence[str],
    descriptors: Sequence[int],
) -> subprocess.Popen[bytes]:
    arguments = [*before, sys.executable, "-m", "wasi_trio", "serve", "--addr", "127.0.0.1:0", *options]
    if component is not None:
        arguments.append(str(component))
    with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
        return subprocess.Popen(
            arguments, cwd=ROOT, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, pass_fds=descriptors
        )


def _port(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])


def on_disk(folder: Path, name: str) -> Path:
    """Write a guest to a file."""
    if name.startswith("python"):
        return build(name)
    path = folder / f"{name}.wasm"
    path.write_bytes(wat.load(name))
    return path
