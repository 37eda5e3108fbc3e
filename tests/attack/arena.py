"""The arena of an attack: a server in its own process, its attackers, and a healthy neighbour."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import trio

from tests.e2e.support import Answer, Client
from tests.guests.build import ROOT

#: the exceptions that a client may see instead of a response
BROKEN = (OSError, trio.BrokenResourceError, h11.RemoteProtocolError, AssertionError)
#: seconds for a server to become idle
PATIENCE = 20.0


@dataclass(frozen=True)
class Site:
    """A component that the server serves: a guest in text form, settings as in TOML, and additional imports.

    ``imports`` is ``module:function``. The function returns the implementations by the names of the interfaces.
    """

    guest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    imports: str | None = None


@dataclass
class Latencies:
    """The durations of requests, in seconds, and their outcomes: a status, or the name of an exception."""

    seconds: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def percentile(self, part: float) -> float:
        """Return the duration within which the fraction ``part`` of the requests finished, or nan without requests."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else math.nan

    def others_than(self, *endings: str) -> int:
        """Return the number of requests with other outcomes."""
        return sum(count for ending, count in self.endings.items() if ending not in endings)


@dataclass(frozen=True)
class Report:
    """The server's report since its last reset: bytes, seconds and counts."""

    longest: float
    processor: float
    turns: str
    resident: int
    peak: int
    files: int
    tasks: int
    active: int
    started: list[int]


class Arena:
    """A server process under attack. Sites are identified by their position in the list."""

    def __init__(self, process: subprocess.Popen[bytes], ports: Sequence[int], short: bool) -> None:
        self.process = process
        self.ports = ports
        #: whether this is the short form, for frequent checks
        self.short = short

    def scaled(self, count: int, at_least: int = 1) -> int:
        """Return ``count``, or a tenth of it in the short form."""
        return max(count // 10, at_least) if self.short else count

    def client(self, site: int = 0) -> Client:
        return Client(self.ports[site])

    async def ask(self, site: int = 0, path: str = "/", method: str = "GET", body: bytes = b"") -> Answer:
        """Send one request on a new connection."""
        async with self.client(site) as client:
            return await client.ask(path, method, body)

    async def timed(self, latencies: Latencies, site: int = 0, path: str = "/") -> None:
        """Send one request, and record its duration and its outcome."""
        began = time.perf_counter()
        try:
            answer = await self.ask(site, path)
            ending = "cut" if answer.cut else str(answer.status)
        except BROKEN as error:
            ending = type(error).__name__
        latencies.seconds.append(time.perf_counter() - began)
        latencies.endings[ending] += 1

    async def crowd(self, count: int, site: int = 0, path: str = "/", rounds: int = 1) -> Latencies:
        """Run ``count`` concurrent clients, each with ``rounds`` requests on its own connections."""
        latencies = Latencies()

        async def come() -> None:
            for _ in range(rounds):
                await self.timed(latencies, site, path)

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(come)
        return latencies

    async def visit(self, latencies: Latencies, site: int, path: str = "/", pause: float = 0.002) -> None:
        """Send requests one after the other until cancelled, like a healthy neighbour."""
        while True:
            await self.timed(latencies, site, path)
            await trio.sleep(pause)

    async def reset(self) -> Report:
        """Reset the server's measurements, and return its current report."""
        return await self._told("reset")

    async def report(self) -> Report:
        return await self._told("report")

    async def rested(self, before: Report) -> Report:
        """Wait until the server has no requests and holds no more than before, and return its report."""
        with trio.move_on_after(PATIENCE):
            while True:
                report = await self.report()
                if not report.active and report.files <= before.files and report.tasks <= before.tasks:
                    break
                await trio.sleep(0.1)
        return report

    async def _told(self, word: str) -> Report:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()
        line = await trio.to_thread.run_sync(self.process.stdout.readline, abandon_on_cancel=True)
        if not line:
            raise Fallen(f"the server ended with {await trio.to_thread.run_sync(self.process.wait)}")
        return Report(**json.loads(line))


class Fallen(Exception):
    """The server did not survive."""


@asynccontextmanager
async def arena(sites: Sequence[Site], log: Path, *, short: bool = False) -> AsyncIterator[Arena]:
    """Run a server with these sites within the block. Its standard error goes to ``log``."""
    process = _start(sites, log)
    assert process.stdin is not None and process.stdout is not None
    try:
        line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
        if not line:
            raise Fallen("the server did not start")
        yield Arena(process, json.loads(line), short)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


def _start(sites: Sequence[Site], log: Path) -> subprocess.Popen[bytes]:
    arguments = json.dumps([[site.guest, dict(site.settings), site.imports] for site in sites])
    with open(log, "wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.attack.server", arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
