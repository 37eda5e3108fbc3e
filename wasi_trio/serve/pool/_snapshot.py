"""A snapshot of a handler: its instances, their activity and their counts. It may be taken on any thread."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from wasi_trio._texts import shown
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._metrics import HandlerMetrics
from wasi_trio.serve.pool._worker import Worker

#: The maximum numbers of instances of a handler, and of requests of an instance, in a snapshot.
MAX_INSTANCES: Final = 200
MAX_REQUESTS: Final = 16
#: The maximum length of a request. Workers send snapshots every second, and encoding one blocks the event loop.
MAX_CHARACTERS: Final = 160


def snapshot(handler: ProxyHandler) -> dict[str, Any]:
    """Return a snapshot of a handler for JSON. docs/metrics.md describes it."""
    workers = list(handler.workers)
    now = handler.watchdog.now
    metrics = handler.metrics
    return {
        "component": shown(handler.component.name),
        "route": handler.options.route or None,
        "generation": handler.options.generation or 1,
        "draining": handler.draining,
        "in_progress": handler.active,
        "queue": handler.waiting,
        "instances_live": len(workers),
        "instances_started": handler.started,
        "instances": [_instance(handler, worker, now) for worker in islice(workers, MAX_INSTANCES)],
        "stalled": handler.watchdog.stalled,
        "stalls": handler.watchdog.stalls,
        "latest_stalls": list(handler.watchdog.latest),
        "counts": None if metrics is None else _counts(metrics),
    }


def _instance(handler: ProxyHandler, worker: Worker, now: float) -> dict[str, Any]:
    instance = worker.instance
    exchanges = worker.in_flight()
    return {
        "instance": worker.name,
        "state": _state(handler, worker),
        "age": round(now - worker.started_at, 3),
        "served": worker.slot.taken - worker.slot.load,
        "in_flight": worker.slot.load,
        "memory": 0 if instance is None else instance.account.used,
        "requests": [
            {"request": shown(str(exchange), MAX_CHARACTERS), "age": round(now - exchange.submitted, 3)}
            for exchange in islice(exchanges, MAX_REQUESTS)
        ],
    }


def _state(handler: ProxyHandler, worker: Worker) -> str:
    """Return the state of an instance: starting, draining, computing, backpressure, waiting or idle."""
    if not worker.made:
        return "starting"
    if worker.slot.retired is not None:
        return "draining"
    if worker.cpu_bound(handler.component.engine.current):
        return "computing"
    strategy = worker.strategy
    if strategy is not None and strategy.asks_for_backpressure:
        return "backpressure"
    return "waiting" if worker.slot.load else "idle"


def _counts(metrics: HandlerMetrics) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for (outcome, _), count in list(metrics.requests.items()):
        outcomes[outcome.value] = outcomes.get(outcome.value, 0) + count
    response = metrics.response_seconds
    return {
        "outcomes": outcomes,
        "retired": {reason.value: count for reason, count in metrics.retired.items() if count},
        "response_bounds": list(response.bounds),
        "response_counts": list(response.counts),
    }
