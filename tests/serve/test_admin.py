"""The admin address: its answers, also while the guests' event loop is blocked."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import cast

import pytest

from tests.e2e.support import request
from tests.guests import wat
from tests.serve.support import engine, guest
from wasi_trio.component._imports import Imports
from wasi_trio.serve._listening import bind
from wasi_trio.serve._loading import link
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.serve.process._admin import MAX_CONNECTIONS, OwnSite, admin_server
from wasi_trio.serve.process._readiness import Readiness


class Admin:
    """A served admin address. Requests use a blocking socket, because it is served on another thread."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.metrics = Metrics()
        self.readiness = Readiness()

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()


@contextmanager
def admin() -> Iterator[Admin]:
    listener = bind(("127.0.0.1", 0))
    site = Admin(listener)
    with closing(listener), admin_server(listener, OwnSite(site.metrics, site.readiness)):
        yield site


async def test_ready_until_told_to_stop() -> None:
    with admin() as site:
        assert site.ask("/readyz") == (503, "starting\n")
        assert site.ask("/healthz") == (200, "ok\n")
        async with ProxyHandler(guest("hello"), HandlerOptions(metrics=site.metrics)) as handler:
            site.readiness.handlers = [handler]
            assert site.ask("/readyz") == (200, "ok\n")
            site.readiness.end()
            assert site.ask("/readyz") == (503, "draining\n")
            assert site.ask("/healthz") == (200, "ok\n")


def test_paths_and_methods() -> None:
    with admin() as site:
        assert site.ask("/")[0] == 404
        assert site.ask("/metrics/")[0] == 404
        assert site.ask("/readyz", "POST")[0] == 405
        assert site.ask("/healthz", "HEAD") == (200, "")
        site.metrics.of("some").started = 3
        status, text = site.ask("/metrics")
        assert status == 200
        assert 'wasi_trio_instances_started_total{component="some"} 3.0' in text.splitlines()


class Stalls:
    """The host's ``acme:host/work``. It blocks the event loop until the admin address reports that."""

    def __init__(self, site: Admin) -> None:
        self.site = site
        self.seen: list[tuple[int, str]] = []
        self.metrics = ""

    def work(self, which: int) -> None:
        while (answer := self.site.ask("/readyz")) == (200, "ok\n"):
            pass
        self.seen = [answer, self.site.ask("/healthz")]
        self.metrics = self.site.ask("/metrics")[1]

    async def later(self, which: int) -> None:
        self.work(which)


@pytest.mark.parametrize("path", ["/1", "/100"])
async def test_not_ready_while_a_host_function_blocks_the_loop(path: str) -> None:
    with admin() as site:
        stalls = Stalls(site)
        linked = link(engine(), wat.load("host_call"), "host_call", Imports({"acme:host/work": stalls}))
        options = HandlerOptions(metrics=site.metrics, stall_limit=0.05)
        async with ProxyHandler(linked, options) as handler:
            site.readiness.handlers = [handler]
            assert (await handler.handle(request(path))).status == 200
            assert site.ask("/readyz") == (200, "ok\n")
            (process,) = json.loads(site.ask("/pool.json")[1])["processes"]
    (pool,) = process["handlers"]
    (stall,) = pool["latest_stalls"]
    assert stall["requests"] == f"GET {path}"
    assert "in work" in stall["stack"]
    assert stalls.seen == [(503, "stalled\n"), (200, "ok\n")]
    lines = stalls.metrics.splitlines()
    assert 'wasi_trio_stalls_total{component="host_call"} 1.0' in lines
    assert 'wasi_trio_host_calls_interrupted_total{component="host_call"} 0.0' in lines
    assert 'wasi_trio_requests_in_progress{component="host_call"} 1.0' in lines


def test_a_failure_does_not_affect_the_server(caplog: pytest.LogCaptureFixture) -> None:
    with admin() as site:
        # In place of a handler an object that has no properties.
        site.metrics.of("some").sources.append(cast(ProxyHandler, None))
        assert site.ask("/metrics")[0] == 500
        assert site.ask("/healthz") == (200, "ok\n")
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(b"\0\r\n\r\n")
            assert client.makefile("rb").readline().startswith(b"HTTP/1.1 400")
        assert site.ask("/healthz") == (200, "ok\n")


def test_open_connections_do_not_delay_the_end() -> None:
    with admin() as site:
        idle = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(MAX_CONNECTIONS - 1)]
        assert site.ask("/healthz") == (200, "ok\n")
    for client in idle:
        assert client.recv(1) == b""
        client.close()


def test_a_failed_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    listener = bind(("127.0.0.1", 0))
    listener.close()
    with admin_server(listener, OwnSite(Metrics(), Readiness())):
        pass
    assert "The admin address has failed and stays closed" in caplog.text
