"""Runs attacks, each in its own arena, and checks the figures of all attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.attack.arena import Fallen, Latencies, Site, arena
from tests.attack.attacks import Attack, Figure

#: maximum seconds of one attack
LONGEST = 120.0


@dataclass
class Course:
    """The result of an attack. ``notes`` are for people."""

    attack: Attack
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: the exception that ended it early
    fallen: str | None = None

    def problems(self, *, always: bool = False) -> list[str]:
        """Return the violations, one line each. With ``always``, only those that do not depend on the machine."""
        problems = [] if self.fallen is None else [self.fallen]
        for figure in self.figures:
            if not figure.holds and (figure.always or not always):
                limit = f"at most {figure.at_most:g}" if figure.at_most is not None else f"at least {figure.at_least:g}"
                problems.append(f"{figure.what}: {figure.value:g} {figure.unit}, {limit} is right".replace("  ", " "))
        return [f"{self.attack.name}: {problem}" for problem in problems]


async def run(attacks: Sequence[Attack], folder: Path, *, short: bool = False) -> list[Course]:
    """Run attacks one after the other."""
    courses = []
    for number, attack in enumerate(attacks):
        course = Course(attack)
        courses.append(course)
        log = trio.Path(folder / f"{number}.log")
        try:
            with trio.fail_after(LONGEST):
                await _run(course, Path(log), short)
        except trio.TooSlowError:
            course.fallen = f"it was not over after {LONGEST:g} s"
        except Fallen as fallen:
            course.fallen = str(fallen)
        said = await log.read_text()
        tracebacks = sum("Traceback" in line for line in said.splitlines())
        most = None if course.attack.told else 0
        course.figures.append(Figure("tracebacks in the log", tracebacks, at_most=most, always=True))
        if (tracebacks and not course.attack.told) or course.fallen:
            course.notes.append(said[-2000:])
    return courses


async def _run(course: Course, log: Path, short: bool) -> None:
    attack = course.attack
    async with arena([attack.site, Site("hello")], log, short=short) as place:
        # A first request to each site, for one-time work.
        await place.ask(1)
        before = await place.reset()
        neighbour = Latencies()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.visit, neighbour, 1)
            course.figures += await attack.drive(place)
            # The neighbour also continues during the clean-up.
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        after = await place.rested(before)
    course.figures += [
        Figure("neighbour, p50", neighbour.percentile(0.5) * 1e3, "ms"),
        Figure("neighbour, p99", neighbour.percentile(0.99) * 1e3, "ms", at_most=250),
        Figure("neighbour's requests", len(neighbour.seconds), at_least=1, always=True),
        Figure("of them failed", neighbour.others_than("200"), at_most=0, always=True),
        Figure("longest turn of the loop", after.longest * 1e3, "ms", at_most=50),
        Figure("of processor time", after.processor * 1e3, "ms", at_most=50),
        Figure("memory at most", (after.peak - before.resident) / 1e6, "MB more", at_most=attack.growth / 1e6),
        Figure("memory afterwards", (after.resident - before.resident) / 1e6, "MB more"),
        Figure("requests left", after.active, at_most=0, always=True),
        Figure("files left", after.files - before.files, at_most=0, always=True),
        Figure("tasks left", after.tasks - before.tasks, at_most=0, always=True),
    ]
    if after.longest > 0.050:
        course.notes.append(after.turns)
