"""Courses: events of replicas and their store under load, and the losses that they permit."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.balancer.load import Load
from tests.rolling.site import CLIENTS, REPLICAS, Site, site
from wasi_trio.wasi.keyvalue._bucket import TOO_LATE, UNREACHABLE

#: a multiple of the interval of HAProxy's checks
DELAY = "500ms"


@dataclass
class Course:
    """The result of a course. ``may_lose`` is the number of requests that may have no response."""

    title: str
    mode: str
    get: int = 0
    post: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    may_lose: int = 0
    counter: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, load: Load) -> None:
        self.get += load.answered["GET"]
        self.post += load.answered["POST"]
        self.refused += load.refused.total()
        self.lost += load.lost

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(f"{self.title}, {self.mode}: {otherwise}")

    def judge(self, counter: int, uncertain: int = 0) -> None:
        """Compare it with the store, which may have counted ``uncertain`` visits without a response."""
        self.counter = counter
        self.expect(len(self.lost) <= self.may_lose, f"{len(self.lost)} lost, {self.may_lose} at most: {self.lost[:5]}")
        most = self.post + uncertain
        self.expect(self.post <= counter <= most, f"{counter} were counted, {self.post} to {most} is right")


def lost_posts(course: Course) -> int:
    """Return the number of visits that may have been counted without a response."""
    return sum(what.startswith("POST") for what in course.lost)


async def sent(load: Load, number: int) -> None:
    while load.sent < number:  # noqa: ASYNC110 - it counts without telling
        await trio.sleep(0.005)


class Lasting:
    """Load that continues until it is told to end, with at least ``least`` requests."""

    def __init__(self, load: Load, least: int) -> None:
        self.load = load
        self._least = least
        self._end = False

    async def run(self) -> None:
        # In batches, after each of which all connections are closed and opened again.
        while not self._end or self.load.sent < self._least:
            await self.load.run(500)

    def end(self) -> None:
        self._end = True


async def replaced(folder: Path, mode: str, requests: int) -> Course:
    """Replace all replicas, one after the other. HAProxy repeats no request, and none may be lost."""
    course = Course("all replaced", mode)
    async with site(folder, mode, "--drain-delay", DELAY) as place:
        lasting = Lasting(place.load(), requests)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lasting.run)
            for number in range(REPLICAS):
                await sent(lasting.load, (number + 1) * requests // (REPLICAS + 2))
                await place.replace(number)
            lasting.end()
        course.add(lasting.load)
        course.judge(place.counter())
        await _all_serve(place, course)
    return course


async def _all_serve(place: Site, course: Course) -> None:
    """Check that each replica receives requests, including new ones."""
    before = [int(row["stot"]) for row in await place.balancer.servers()]
    load = place.load()
    await load.run(100)
    after = [int(row["stot"]) for row in await place.balancer.servers()]
    course.expect(load.lost == [], f"lost afterwards: {load.lost[:5]}")
    course.expect(all(b > a for a, b in zip(before, after, strict=True)), f"not all serve: {before}, {after}")


async def killed(folder: Path, mode: str, requests: int) -> Course:
    """Kill one replica, and restart it. Only its requests in progress may be lost."""
    course = Course("one killed", mode)
    async with site(folder, mode, shipped=True) as place:
        lasting = Lasting(place.load(), requests)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lasting.run)
            await sent(lasting.load, requests // 3)
            # Each client waits for one response, and some still send a request while the process ends.
            course.may_lose = CLIENTS
            await place.replicas[0].end(signal.SIGKILL)
            await place.back(0)
            lasting.end()
        course.add(lasting.load)
        course.judge(place.counter(), lost_posts(course))
        others = [int(row["eresp"]) + int(row["econ"]) for row in (await place.balancer.servers())[1:]]
        course.expect(not any(others), f"requests failed at the others: {others}")
        await _all_serve(place, course)
    return course


async def stopped(folder: Path, mode: str, requests: int) -> Course:
    """Suspend one replica: its check removes it, the others serve, and it returns.

    Its requests may exceed timeouts, such as that of the store. Only they may be lost.
    """
    course = Course("one stopped", mode)
    async with site(folder, mode, shipped=True) as place:
        held, others = place.load(), place.load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(held.run, requests)
            await sent(held, requests // 3)
            place.replicas[0].server.signal(signal.SIGSTOP)
            await place.balancer.until(0, "DOWN")
            course.may_lose = held.in_flight
            # New clients are not affected.
            await others.run(requests)
            course.expect(others.lost == [], f"lost while it stood still: {others.lost[:5]}")
            place.replicas[0].server.signal(signal.SIGCONT)
            await place.balancer.until(0, "UP")
        course.add(held)
        course.add(others)
        course.judge(place.counter(), lost_posts(course))
        await _all_serve(place, course)
    return course


async def storeless(folder: Path, mode: str, requests: int) -> Course:
    """Kill the store, and restart it: guests receive errors, none hangs, and acknowledged data survives."""
    course = Course("store killed", mode)
    async with site(folder, mode, "--keyvalue-timeout", "1s", shipped=True, durable=True) as place:
        lasting = Lasting(place.load(refusals=True, patience=10), requests)
        load = lasting.load
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lasting.run)
            await sent(load, requests // 3)
            place.valkey.kill()
            while load.refused.total() < requests // 10:  # noqa: ASYNC110 - it counts without telling
                await trio.sleep(0.005)
            place.valkey.start()
            answered = load.answered.total()
            while load.answered.total() < answered + requests // 3:  # noqa: ASYNC110 - it counts without telling
                await trio.sleep(0.005)
            lasting.end()
        course.add(load)
        course.judge(place.counter(), sum(count for (method, _), count in load.refused.items() if method == "POST"))
        said = {content for _, content in load.refused}
        ours = (UNREACHABLE.encode(), TOO_LATE.encode())
        strange = [content for content in said if not any(text in content for text in ours)]
        course.expect(strange == [], f"it was not the guest that refused: {strange[:5]}")
        await _all_serve(place, course)
    return course
