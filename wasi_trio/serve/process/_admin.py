"""The admin address: metrics, liveness and readiness.

It runs on its own thread, so that it can report a blocked event loop of the guests.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from wasi_trio._texts import get_logger
from wasi_trio.serve._responder import OwnAnswers, current_date
from wasi_trio.serve.http._server import Server
from wasi_trio.serve.http._stream import HttpStream, ResponseHead
from wasi_trio.serve.pool._metrics import Metrics
from wasi_trio.serve.pool._snapshot import snapshot
from wasi_trio.serve.process._page import page, policy
from wasi_trio.serve.process._readiness import Readiness

logger = get_logger("wasi_trio.serve")

#: The maximum number of open connections to the admin address. Further ones wait.
MAX_CONNECTIONS = 16

FAILED = "The admin address has failed and stays closed"
_PATHS = ("/metrics", "/healthz", "/readyz", "/pool", "/pool.json")
_TEXT = "text/plain; charset=utf-8"


class Site(Protocol):
    """The process or processes behind an admin address. All methods are safe to call on any thread."""

    @property
    def obstacle(self) -> str | None:
        """The reason in one word for which clients should send no requests, or None."""

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as objects."""

    def pool(self) -> list[dict[str, Any]]:
        """Return the state of each process and its handlers, as JSON objects."""


class OwnSite:
    """The site of this process."""

    def __init__(self, metrics: Metrics, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness

    @property
    def obstacle(self) -> str | None:
        return self._readiness.obstacle

    def exposition(self) -> bytes:
        return self._metrics.exposition()

    def collect(self) -> Iterable[Metric]:
        return self._metrics.registry.collect()

    def pool(self) -> list[dict[str, Any]]:
        budget = self._metrics.budget
        memory = None if budget is None else {"used": budget.used, "limit": budget.limit}
        handlers = [snapshot(handler) for handler in self._readiness.handlers]
        return [{"worker": None, "obstacle": self.obstacle, "memory": memory, "handlers": handlers}]


class AdminService:
    """Answers requests for /metrics, /healthz, /readyz, /pool and /pool.json, which docs/metrics.md describes."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, stream: HttpStream) -> None:
        request = stream.request
        path = (request.path_with_query or "").partition("?")[0]
        status, kind, content = self._answer(request.method, path)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            (b"date", current_date()),
        ]
        if path == "/pool":
            headers.append((b"content-security-policy", policy().encode()))
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        bodiless = request.method == "HEAD"
        stream.send_whole(ResponseHead(status, headers, len(content), bodiless), b"" if bodiless else content, None)

    def _answer(self, method: str, path: str) -> tuple[int, str, bytes]:
        if path not in _PATHS:
            return 404, _TEXT, b"not found; available: %s\n" % ", ".join(_PATHS).encode()
        if method not in ("GET", "HEAD"):
            return 405, _TEXT, b"only GET and HEAD are allowed\n"
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, self._site.exposition()
        if path == "/pool":
            return 200, "text/html; charset=utf-8", page()
        if path == "/pool.json":
            content = {"time": time.time(), "processes": self._site.pool()}
            return 200, "application/json", json.dumps(content).encode()
        obstacle = self._site.obstacle if path == "/readyz" else None
        return (200, _TEXT, b"ok\n") if obstacle is None else (503, _TEXT, f"{obstacle}\n".encode())


async def serve_site(listener: socket.socket, site: Site) -> None:
    """Serve the admin address on a listening socket until cancelled. Close the socket, and log failures.

    No guests may run on the same event loop.
    """
    try:
        server = Server(AdminService(site), max_connections=MAX_CONNECTIONS, fields=OwnAnswers().fields)
        await server.run([listener], trio.Event())
    except Exception:
        logger.exception(FAILED)


@contextmanager
def admin_server(listener: socket.socket, site: Site) -> Iterator[None]:
    """Serve the admin address on a listening socket during the block. Close the socket at the end.

    It runs in an event loop on its own thread. Its failures are logged, and do not affect the block.
    """
    server = _AdminThread(listener, site)
    server.start()
    server.running.wait()
    try:
        yield
    finally:
        server.stop()
        server.join()


class _AdminThread(threading.Thread):
    def __init__(self, listener: socket.socket, site: Site) -> None:
        super().__init__(name="wasi_trio admin", daemon=True)
        #: Set when the thread can be stopped, or has failed.
        self.running = threading.Event()
        self._listener = listener
        self._site = site
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None

    def run(self) -> None:
        try:
            trio.run(self._serve)
        except Exception:
            logger.exception(FAILED)
        finally:
            self.running.set()

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self.running.set()
        with self._scope:
            await serve_site(self._listener, self._site)

    def stop(self) -> None:
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._scope.cancel)
            except trio.RunFinishedError:
                logger.debug("The admin thread has already ended")
