"""The replacement of one version of a route by another."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.e2e.support import until
from tests.guests import wat
from tests.serve.support import engine, get, serving
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.routing._declarations import parse_route
from wasi_trio.serve.routing._pools import MAX_DRAINING, Common, Pools
from wasi_trio.serve.routing._versions import LoadedRoute, Loader, read_versions
from wasi_trio.serve.settings._settings import Settings
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request


def request(path: str) -> Request:
    return Request("GET", "http", "x", path, [], Body.empty())


def load(loader: Loader, folder: Path, *routes: str) -> list[LoadedRoute]:
    """Load routes such as ``/a=hello``, with the names of guests."""
    declared = []
    for route in routes:
        pattern, _, name = route.partition("=")
        path = folder / f"{name}.wasm"
        path.write_bytes(wat.load(name))
        declared.append(parse_route(f"{pattern}={path}"))
    settings = Settings({"route": tuple(declared)})
    return [loader.load(version, settings) for version in read_versions(settings)]


async def test_replaced_pools_are_freed(tmp_path: Path) -> None:
    """This needs no garbage collection: objects loaded at the start are never collected."""
    loader = Loader(engine())
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery, Common())
        await pools.adopt(load(loader, tmp_path, "/=hello"))
        old = [weakref.ref(handler.component) for handler in pools.handlers]
        old += [weakref.ref(pool) for pool in pools.current]
        async with serving(pools) as port:
            assert b"Hello" in await get(port)
        gc.collect()
        gc.freeze()
        try:
            await pools.adopt(load(loader, tmp_path, "/=counter"))
            await until(lambda: len(pools.handlers) == 1)
            await until(lambda: not any(reference() for reference in old))
        finally:
            gc.unfreeze()
        pools.end()


async def test_unchanged_routes_are_kept(tmp_path: Path) -> None:
    loader = Loader(engine())
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery, Common())
        await pools.adopt(load(loader, tmp_path, "/a=hello", "/b=hello"))
        a, b = pools.current
        # Compiled once.
        assert a.handlers[0].component.component is b.handlers[0].component.component
        await pools.adopt(load(loader, tmp_path, "/b=counter"), [a])
        assert pools.current[0] is a
        assert [pool.generation for pool in pools.current] == [1, 2]
        pools.end()


async def test_old_versions_do_not_pile_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each version has an endless request. Beyond the limit, the oldest one is ended."""
    loader = Loader(engine())
    loaded = load(loader, tmp_path, "/=sleep")
    async with trio.open_nursery() as nursery:
        pools = Pools(nursery, Common())
        await pools.adopt(loaded)
        exchanges = []
        for _ in range(MAX_DRAINING + 3):
            exchanges.append(pools.submit(request("/3600000")))
            await pools.adopt(loaded)
        await until(lambda: len(pools.handlers) == MAX_DRAINING + 1)
        await until(lambda: [exchange.answered for exchange in exchanges] == [True] * 3 + [False] * MAX_DRAINING)
        assert [exchange.failure.status for exchange in exchanges[:3] if exchange.failure] == [503] * 3
        assert "has too many draining versions" in caplog.text
        nursery.cancel_scope.cancel()


async def test_metrics_have_the_labels_of_routes(tmp_path: Path) -> None:
    """A route has one set, whatever clients send and however often it is replaced. A removed route has none."""
    metrics = Metrics()
    metrics.routed = True
    loader = Loader(engine())

    def adapt(route: LoadedRoute) -> HandlerOptions:
        return replace(route.options, metrics=metrics)

    def series() -> list[str]:
        lines = metrics.exposition().decode().splitlines()
        return [line for line in lines if line.startswith("wasi_trio_requests_total{")]

    async with trio.open_nursery() as nursery:
        pools = Pools(nursery, Common(adapt, metrics=metrics))
        pools.routed = True
        loaded = load(loader, tmp_path, "/a=hello", "/b=hello")
        async with serving(pools) as port:
            for _ in range(3):
                await pools.adopt(loaded)
                for path in ("/a", "/a/x", "/%61", "/b", "/none", "/x/../a"):
                    await get(port, path)
                await until(lambda: len(pools.handlers) == 2)
            assert len(series()) == 2
            assert [line.rpartition(" ")[2] for line in series()] == ["9.0", "3.0"]
            await pools.adopt(loaded[:1])
            await until(lambda: len(pools.handlers) == 1)
            await until(lambda: len(series()) == 1)
        pools.end()
