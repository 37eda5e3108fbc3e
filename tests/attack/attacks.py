"""The attacks, and how to write one.

An attack is a function with the decorator ``attack``. It receives the arena, whose server serves the given ``Site``.
During the attack, a healthy neighbour, another component of the same process, receives requests continuously. The
attack returns ``Figure``s: values with their limits. ``tests.attack.run`` adds the figures of all attacks: those of the
neighbour, of the turns of the loop, and of leaks.

A figure that holds ``always`` does not depend on the speed of the machine, for example a count or a status. Others are
checked only in ``nox -s attack``. ``arena.scaled`` shrinks an attack for frequent checks.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from tests.attack.arena import Arena, Latencies, Site
from tests.guests.late import IN_A_THREAD, SHIELDED, SWALLOWING, Work
from tests.guests.raising import PLACES, Raising


@dataclass(frozen=True)
class Figure:
    """A measured value and its limits. The module's docstring explains ``always``."""

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    always: bool = False

    @property
    def holds(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


@dataclass(frozen=True)
class Attack:
    """An attack of one of the kinds of issue 11. ``growth`` bounds the growth of the server in bytes.

    ``told`` means that the log must have tracebacks of it.
    """

    name: str
    kind: int
    site: Site
    drive: Callable[[Arena], Awaitable[Sequence[Figure]]]
    growth: int
    in_short: bool
    told: bool = False


ATTACKS: list[Attack] = []

Drive = Callable[[Arena], Awaitable[Sequence[Figure]]]


def attack(
    kind: int, name: str, site: Site, *, growth: int = 256 << 20, in_short: bool = True, told: bool = False
) -> Callable[[Drive], Drive]:
    """Register a function as an attack. Frequent checks include it if ``in_short`` is true."""

    def add(drive: Drive) -> Drive:
        ATTACKS.append(Attack(name, kind, site, drive, growth, in_short, told))
        return drive

    return add


def lateness(latencies: Latencies, deadline: float, at_most: float = 100.0) -> list[Figure]:
    """Return the delays of responses to requests that miss their deadlines, and the count of unexpected outcomes."""
    return [
        Figure("other answers than 504", latencies.others_than("504"), "", at_most=0, always=True),
        Figure("504 after the deadline, p50", (latencies.percentile(0.5) - deadline) * 1e3, "ms"),
        Figure("504 after the deadline, p99", (latencies.percentile(0.99) - deadline) * 1e3, "ms", at_most=at_most),
    ]


# ---- kind 3: many CPU-bound guests -------------------------------------------------------------------------

DEADLINE = 0.5
SPINNING = {"request-timeout": f"{DEADLINE:g}s"}


async def _spin(arena: Arena, path: str) -> list[Figure]:
    """Run a hundred clients, each of which sends its next request after a response."""
    return lateness(await arena.crowd(arena.scaled(100), path=path, rounds=arena.scaled(10, at_least=2)), DEADLINE)


@attack(3, "100 guests of WASI 0.2 that compute", Site("spin", SPINNING))
async def spin(arena: Arena) -> list[Figure]:
    return await _spin(arena, "/")


@attack(3, "100 guests of WASI 0.3 that compute", Site("p3_spin", SPINNING))
async def p3_spin(arena: Arena) -> list[Figure]:
    return await _spin(arena, "/0")


@attack(3, "100 guests of WASI 0.3 that compute in their callbacks", Site("p3_spin", SPINNING), in_short=False)
async def p3_spin_in_callback(arena: Arena) -> list[Figure]:
    return await _spin(arena, "/2")


@attack(3, "100 guests of WASI 0.3 that yield without end", Site("p3_spin", SPINNING))
async def p3_yield(arena: Arena) -> list[Figure]:
    return await _spin(arena, "/3")


@attack(3, "100 guests that compute in their start functions", Site("spin_in_start", SPINNING), in_short=False)
async def spin_in_start(arena: Arena) -> list[Figure]:
    return await _spin(arena, "/")


@attack(
    3, "100 guests that compute, and healthy requests to the same component", Site("glutton", SPINNING), in_short=False
)
async def same_component(arena: Arena) -> list[Figure]:
    # The server can distinguish them from others only after those have used more time.
    own = Latencies()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arena.visit, own, 0, "/7")
        figures = await _spin(arena, "/6")
        nursery.cancel_scope.cancel()
    return [
        *figures,
        Figure("healthy requests to the component, p50", own.percentile(0.5) * 1e3, "ms"),
        Figure("healthy requests to the component, p99", own.percentile(0.99) * 1e3, "ms", at_most=1000),
    ]


# ---- kind 5: late deadlines --------------------------------------------------------------------------------


def work() -> dict[str, object]:
    """Return the host functions of the guests host_call and p3_host_call."""
    return {"acme:host/work": Work()}


WORKING = "tests.attack.attacks:work"


async def _wait(arena: Arena) -> list[Figure]:
    latencies = Latencies()
    async with trio.open_nursery() as nursery:
        for which in (IN_A_THREAD, SHIELDED, SWALLOWING):
            for _ in range(arena.scaled(20, at_least=3)):
                nursery.start_soon(arena.timed, latencies, 0, f"/{which}")
    return lateness(latencies, DEADLINE)


@attack(5, "host functions that cannot be cancelled, WASI 0.2", Site("host_call", SPINNING, WORKING))
async def uncancellable(arena: Arena) -> list[Figure]:
    return await _wait(arena)


@attack(5, "host functions that cannot be cancelled, WASI 0.3", Site("p3_host_call", SPINNING, WORKING))
async def p3_uncancellable(arena: Arena) -> list[Figure]:
    return await _wait(arena)


# ---- kinds 1 and 2: held memory, and blocking of the loop --------------------------------------------------

GLUTTON = {"request-timeout": "10s"}
#: the settings for attacks that last until the deadline
ENDLESS = {"request-timeout": "2s"}


async def _once(arena: Arena, path: str, *statuses: str) -> list[Figure]:
    latencies = Latencies()
    began = time.perf_counter()
    await arena.timed(latencies, path=path)
    return [
        Figure(f"other answers than {' or '.join(statuses)}", latencies.others_than(*statuses), at_most=0, always=True),
        Figure("time until it was answered", (time.perf_counter() - began) * 1e3, "ms"),
    ]


@attack(2, "memory.fill of a GiB", Site("glutton", GLUTTON), growth=1100 << 20, in_short=False)
async def fill(arena: Arena) -> list[Figure]:
    return await _once(arena, "/0", "200", "500")


@attack(2, "a string of 120 MiB", Site("glutton", GLUTTON), growth=400 << 20, in_short=False)
async def string(arena: Arena) -> list[Figure]:
    return await _once(arena, "/1", "200", "500")


@attack(2, "twenty strings of 120 MiB", Site("glutton", GLUTTON), growth=400 << 20, in_short=False)
async def strings(arena: Arena) -> list[Figure]:
    return await _once(arena, "/2", "200", "500")


@attack(2, "90,000 handles at once", Site("glutton", GLUTTON))
async def handles(arena: Arena) -> list[Figure]:
    return await _once(arena, "/3", "200", "500")


@attack(1, "90,000 outgoing requests with long paths", Site("glutton", ENDLESS), in_short=False)
async def long_paths(arena: Arena) -> list[Figure]:
    return await _once(arena, "/4", "200", "500", "504")


@attack(2, "90,000 timers waited for at once", Site("glutton", GLUTTON), in_short=False)
async def timers(arena: Arena) -> list[Figure]:
    return await _once(arena, "/5", "500", "504")


@attack(2, "an instance dropped with 90,000 pending calls", Site("p3_glutton", ENDLESS))
async def pending_calls(arena: Arena) -> list[Figure]:
    return await _once(arena, f"/{arena.scaled(90)}", "500", "504")


# ---- kind 6: host functions that raise other exceptions than Exception -------------------------------------


def raising() -> dict[str, object]:
    """Failing host functions of the guests host_call and p3_host_call."""
    return {"acme:host/work": Raising()}


async def _raise(arena: Arena) -> list[Figure]:
    """Raise all four kinds in each place. The server has survived if the neighbour has."""
    latencies = Latencies()
    async with trio.open_nursery() as nursery:
        for place in PLACES:
            for _ in range(arena.scaled(40, at_least=4)):
                nursery.start_soon(arena.timed, latencies, 0, f"/{place}")
    return [Figure("other answers than 500", latencies.others_than("500"), at_most=0, always=True)]


@attack(6, "host functions that raise SystemExit, WASI 0.2", Site("host_call", {}, f"{__name__}:raising"), told=True)
async def raise_others(arena: Arena) -> list[Figure]:
    return await _raise(arena)


@attack(6, "host functions that raise SystemExit, WASI 0.3", Site("p3_host_call", {}, f"{__name__}:raising"), told=True)
async def p3_raise_others(arena: Arena) -> list[Figure]:
    return await _raise(arena)
