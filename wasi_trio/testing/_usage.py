"""What guests of a test used, for the report of ``--wasi-trio-slow``."""

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
    from wasi_trio.serve.pool._tracing import Carrier

#: host functions that are told apart for each test; of others only the sum is kept
MOST_FUNCTIONS = 100
_OTHERS = "others"


class Usage:
    """Adds up what the guests of one test use. It is the ``Tracer`` of their requests, and the ``Origin`` of calls."""

    def __init__(self) -> None:
        #: seconds of processor time, and instances, by component
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.instances: Counter[str] = Counter()
        #: calls that were waited for, and the seconds of that in the test's clock, by host function
        self.waits: Counter[str] = Counter()
        self.waited_seconds: defaultdict[str, float] = defaultdict(float)

    def begin(self, exchange: Exchange, carrier: Carrier | None) -> _Request:
        return _Request(self)

    def waited(self, func: Any, began: float) -> None:
        name = f"{func.interface} {func.name}".strip()
        if name not in self.waits and len(self.waits) >= MOST_FUNCTIONS:
            name = _OTHERS
        self.waits[name] += 1
        self.waited_seconds[name] += trio.current_time() - began

    def sends(self, request: Any) -> None:
        """Requests of guests are host calls like others."""

    def meter(self, component: str, other: Meter | None) -> Meter:
        """What counts the processor time of an instance, and tells another meter of it."""

        def count(task: object, seconds: float) -> None:
            self.seconds[component] += seconds
            if other is not None:
                other(task, seconds)

        return count

    def summary(self) -> dict[str, Any] | None:
        """All of it, of types that JSON has; None where no guest was run."""
        if not self.instances:
            return None
        waits = sorted(((self.waited_seconds[name], count, name) for name, count in self.waits.items()), reverse=True)
        return {
            "components": {name: [self.seconds[name], count] for name, count in self.instances.items()},
            "waits": [list(wait) for wait in waits],
        }


class _Request:
    """Follows one request."""

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


#: that of the test that runs; None where nobody asked for the report
USAGE: ContextVar[Usage | None] = ContextVar("wasi_trio_usage", default=None)


@contextmanager
def metered(component: str, meter: Meter | None) -> Iterator[Meter | None]:
    """Count what an instance uses that is called in this block; gives the meter that it needs."""
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
    """Lines about the tests and the components whose guests took longest."""
    times = {test: sum(seconds for seconds, _ in used["components"].values()) for test, used in tests.items()}
    slowest = sorted(times, key=lambda test: times[test], reverse=True)[:most]
    yield f"the slowest {len(slowest)} of {len(tests)} tests with guests, by the processor time of those:"
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
