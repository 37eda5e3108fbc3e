"""Processor time, instances and host calls of a test's guests, for the report of ``--wasi-trio-slow``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from wasi_trio.runtime._fiber import Meter
from wasi_trio.runtime._origins import ORIGIN

if TYPE_CHECKING:
    from wasi_trio.serve.pool._exchange import Exchange
    from wasi_trio.serve.pool._outcomes import Outcome
    from wasi_trio.serve.pool._tracing import RequestStream

#: The maximum number of host functions for each test. Further ones share one entry.
MOST_FUNCTIONS = 100
_OTHERS = "others"


class Usage:
    """The sums for the guests of one test. It is the ``Tracer`` of their requests, and the ``Origin`` of calls."""

    def __init__(self) -> None:
        #: Processor time in seconds, by component.
        self.seconds: defaultdict[str, float] = defaultdict(float)
        #: Number of instances, by component.
        self.instances: Counter[str] = Counter()
        #: Number of calls that waited, by host function.
        self.waits: Counter[str] = Counter()
        #: Duration of these calls in seconds of the test's clock, by host function.
        self.waited_seconds: defaultdict[str, float] = defaultdict(float)

    def begin(self, exchange: Exchange, stream: RequestStream | None) -> _Request:
        return _Request(self)

    def waited(self, func: Any, began: float) -> None:
        name = f"{func.interface} {func.name}".strip()
        if name not in self.waits and len(self.waits) >= MOST_FUNCTIONS:
            name = _OTHERS
        self.waits[name] += 1
        self.waited_seconds[name] += trio.current_time() - began

    def sends(self, request: Any) -> None:
        """Return no follower: a guest's request is a host call like any other."""

    def meter(self, component: str, other: Meter | None) -> Meter:
        """Return a meter that counts the processor time of an instance and passes it to another meter."""

        def count(task: object, seconds: float) -> None:
            self.seconds[component] += seconds
            if other is not None:
                other(task, seconds)

        return count

    def summary(self) -> dict[str, Any] | None:
        """Return all sums in JSON types; None if no guest ran."""
        if not self.instances:
            return None
        waits = sorted(((self.waited_seconds[name], count, name) for name, count in self.waits.items()), reverse=True)
        return {
            "components": {name: [self.seconds[name], count] for name, count in self.instances.items()},
            "waits": [list(wait) for wait in waits],
        }


class _Request:
    """The trace of one request."""

    __slots__ = ("_usage",)

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    @property
    def ids(self) -> Mapping[str, str]:
        return {}

    def instance_made(self, began: float) -> None:
        pass

    def began(self, instance: str) -> None:
        pass

    def responded(self, exchange: Exchange) -> None:
        pass

    def ended(self, exchange: Exchange, outcome: Outcome) -> None:
        self._usage.seconds[exchange.component] += exchange.processor

    def waited(self, func: Any, began: float) -> None:
        self._usage.waited(func, began)

    def sends(self, request: Any) -> None:
        pass


#: The sums of the current test; None without the report.
USAGE: ContextVar[Usage | None] = ContextVar("wasi_trio_usage", default=None)


@contextmanager
def metered(component: str, meter: Meter | None) -> Iterator[Meter | None]:
    """Count the calls of an instance in this block, and yield the meter for the instance."""
    usage = USAGE.get()
    if usage is None:
        yield meter
        return
    usage.instances[component] += 1
    token = ORIGIN.set(usage)
    try:
        yield usage.meter(component, meter)
    finally:
        ORIGIN.reset(token)


# ---- the report ------------------------------------------------------------------------------------------


def report(tests: Mapping[str, dict[str, Any]], most: int) -> Iterator[str]:
    """Yield lines about the tests and the components whose guests used most processor time."""
    times = {test: sum(seconds for seconds, _ in used["components"].values()) for test, used in tests.items()}
    slowest = sorted(times, key=lambda test: times[test], reverse=True)[:most]
    yield f"the slowest {len(slowest)} of {len(tests)} tests with guests, by the guests' processor time:"
    for test in slowest:
        used = tests[test]
        instances = sum(count for _, count in used["components"].values())
        yield f"{_seconds(times[test])}  {_counted(instances, 'instance'):>14}  {test}"
        for seconds, count, name in used["waits"][:3]:
            yield f"{'':11}waited {_seconds(seconds).strip()} in {_counted(count, 'call')} of {name}"
    components: dict[str, tuple[float, int]] = {}
    for used in tests.values():
        for name, (seconds, count) in used["components"].items():
            before = components.get(name, (0.0, 0))
            components[name] = before[0] + seconds, before[1] + count
    ranked = sorted(components, key=lambda name: components[name], reverse=True)[:most]
    yield f"the slowest {len(ranked)} of {len(components)} components:"
    for name in ranked:
        seconds, count = components[name]
        yield f"{_seconds(seconds)}  {_counted(count, 'instance'):>14}  {name}"


def _seconds(seconds: float) -> str:
    return f"{seconds:7.3f} s"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
