"""Load on a server in rounds. After each round the server rests, and is checked for leaks."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.process import Process, command, on_disk
from tests.e2e.support import Client
from tests.soak.clients import CONTAGIOUS, FAILURES, HEALTHY, HOARDERS, UNHEALTHY, Visit
from wasi_trio.serve._trimming import INTERVAL

#: seconds for one visit, and for a server to become idle, on a busy machine
PATIENCE = 60.0
#: maximum visits of one task in a round
MOST_VISITS = 10_000
#: seconds in which an idle server returns the memory of a peak
TRIMMED = INTERVAL + 1.0

#: A deadline of a few seconds suffices for healthy clients, even beside a spinning guest on a busy machine. It also
#: bounds the wait for half-closed clients, so that a server soon becomes idle.
OPTIONS = ["--request-timeout", "3s", "--half-closed-timeout", "3s", "--admin-addr", "127.0.0.1:0"]
#: limits of guests that hoard
LITTLE = ("--max-instance-memory", "32MiB", "--max-memory-size", "16MiB")


@dataclass(frozen=True)
class Plan:
    """A server for a soak: its guest, its options, and the kinds of its clients, except those in ``without``.

    ``growth`` bounds the growth of its memory, in bytes, in the second half of the rounds.
    """

    title: str
    guest: str
    options: tuple[str, ...] = ()
    kinds: Mapping[str, tuple[Visit, int, float]] = field(default_factory=lambda: {**HEALTHY, **UNHEALTHY})
    without: tuple[str, ...] = ()
    growth: int = 8 << 20

    @property
    def clients(self) -> dict[str, tuple[Visit, int, float]]:
        """The kinds of its clients: the visit, the number of clients, and their pause between visits."""
        return {name: kind for name, kind in self.kinds.items() if name not in self.without}


PLANS = (
    Plan("WASI 0.2, instances reused", "python_p2", ("--max-instance-reuse-count", "50")),
    Plan("WASI 0.3, one request at a time", "python_p3", ("--max-instance-concurrent-reuse-count", "1")),
    # Requests that share an instance share its end, so contagious clients are excluded.
    Plan("WASI 0.3, 16 requests at a time", "python_p3", without=CONTAGIOUS),
    Plan("WASI 0.2, guests that hoard", "hoard", (*LITTLE, "--max-instance-reuse-count", "50"), HOARDERS),
    Plan(
        "WASI 0.3, guests that hoard",
        "p3_hoard",
        (*LITTLE, "--max-instance-concurrent-reuse-count", "1"),
        HOARDERS,
    ),
)


@dataclass(frozen=True)
class Reading:
    """The resources of a server without clients. ``files`` is None if the system does not report it."""

    memory: int
    files: int | None
    tasks: int
    instances: int
    requests: int

    @property
    def at_rest(self) -> bool:
        return not self.instances and not self.requests


@dataclass
class Course:
    """The result of a server. ``readings`` are those before the first round and after each."""

    plan: Plan
    visits: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    #: by reason
    retired: dict[str, int] = field(default_factory=dict)
    started: int = 0

    @property
    def growth(self) -> int:
        """Return the growth of its memory in bytes in the second half of the rounds."""
        rounds = self.readings[1:]
        return rounds[-1].memory - rounds[(len(rounds) - 1) // 2].memory

    def problems(self) -> list[str]:
        """Return all violations, one line each."""
        problems = list(self.failures)
        before, after = self.readings[0], self.readings[-1]
        for what in ("files", "tasks", "instances", "requests"):
            had, has = getattr(before, what), getattr(after, what)
            if had is not None and has > had:
                problems.append(f"it has {has} {what} left, and began with {had}")
        if self.growth > self.plan.growth:
            problems.append(f"its memory grew by {self.growth >> 20} MB in the second half")
        if sum(self.retired.values()) != self.started:
            problems.append(f"{self.started} instances were started, and {sum(self.retired.values())} ended")
        return [f"{self.plan.title}: {problem}" for problem in problems]


async def soak(plans: Iterable[Plan], folder: Path, seconds: float, rounds: int, rest: float = TRIMMED) -> list[Course]:
    """Put servers under load concurrently, for ``seconds`` in total. Return when all are idle.

    After each round they rest for ``rest`` seconds before the check.
    """
    courses = []
    async with trio.open_nursery() as nursery:
        for number, plan in enumerate(plans):
            own = folder / str(number)
            own.mkdir()
            courses.append(course := Course(plan))
            nursery.start_soon(_run, course, own, seconds / rounds, rounds, rest)
    return courses


async def _run(course: Course, folder: Path, seconds: float, rounds: int, rest: float) -> None:
    plan = course.plan
    patience = rounds * (seconds + 2 * PATIENCE) + 3 * PATIENCE
    component = on_disk(folder, plan.guest)
    async with command(folder, component, *OPTIONS, *plan.options, patience=patience) as server:
        # A first request, for one-time work.
        async with Client(server.port) as client:
            await client.ask("/hello")
        await _rest(course, server)
        for _ in range(rounds):
            await _round(course, server.port, seconds)
            if server.process.poll() is not None:
                break
            await trio.sleep(rest)
            await _rest(course, server)
        else:
            await _count_instances(course, server)
        server.process.terminate()
        with trio.move_on_after(PATIENCE):
            await server.ended()
        if server.process.poll() != 0:
            course.failures.append(f"the server ended with {server.process.poll()} (None: not at all)")
        if any(re.match(r"(Traceback| *[+] Exception Group Traceback)", line) for line in server.stderr.splitlines()):
            course.failures.append(f"its log has tracebacks:\n{server.stderr[-5000:]}")


async def _count_instances(course: Course, server: Process) -> None:
    samples = await _samples(server)
    course.started = int(samples["instances_started_total"])
    for name, value in samples.items():
        metric, _, reason = name.partition(" ")
        if metric == "instances_retired_total" and value:
            course.retired[reason] = int(value)


async def _round(course: Course, port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    async with trio.open_nursery() as nursery:
        for name, (visit, count, pause) in course.plan.clients.items():
            for _ in range(count):
                nursery.start_soon(_visits, course, name, visit, port, pause, end)


async def _visits(course: Course, name: str, visit: Visit, port: int, pause: float, end: float) -> None:
    for _ in range(MOST_VISITS):
        course.visits[name] += 1
        try:
            with trio.fail_after(PATIENCE):
                await visit(port)
        except* FAILURES as errors:
            failed = errors.exceptions[0]
            while isinstance(failed, BaseExceptionGroup):
                failed = failed.exceptions[0]
            course.failures.append(f"{name}: {type(failed).__name__}: {failed}")
        if time.monotonic() > end:
            return
        await trio.sleep(random.uniform(0, pause))


async def _rest(course: Course, server: Process) -> None:
    """Wait until a server has released everything, or stops changing, and take a reading."""
    before = course.readings[0] if course.readings else None
    end = time.monotonic() + PATIENCE
    while True:
        reading = await _read(server)
        # The resources of a connection are released shortly after its client has ended.
        settled = before is None or (reading.tasks <= before.tasks and (reading.files or 0) <= (before.files or 0))
        if (reading.at_rest and settled) or time.monotonic() > end:
            course.readings.append(reading)
            return
        await trio.sleep(0.1)


async def _read(server: Process) -> Reading:
    samples = await _samples(server)
    return Reading(
        memory=server.resident(),
        files=server.open_files(),
        tasks=int(samples["tasks"]),
        instances=int(samples["instances_live"]),
        requests=int(samples["requests_in_progress"] + samples["requests_waiting"]),
    )


async def _samples(server: Process) -> dict[str, float]:
    """Return the server's metrics by name, without their common prefix, and by label if they have one."""
    with trio.fail_after(PATIENCE):
        async with Client(server.admin_port) as client:
            answer = await client.ask("/metrics", "GET", b"", ("connection", "close"))
    samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels = [value for label, value in sample.labels.items() if label != "component"]
            samples[" ".join([sample.name.removeprefix("wasi_trio_"), *labels])] = sample.value
    return samples
