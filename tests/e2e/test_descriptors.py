"""File descriptors of the process: their limits, and behaviour without free ones."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.process import command, on_disk
from tests.e2e.support import PATIENCE, Client
from wasi_trio.wasi._context import WasiContext, WasiOptions
from wasi_trio.wasi._descriptors import GUESTS, Share
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._errors import HttpError
from wasi_trio.wasi.http._messages import Request, Response
from wasi_trio.wasi.http._outgoing import PendingResponse, start
from wasi_trio.wasi.http._request_options import RequestOptions

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no prlimit and no /proc")


async def test_the_limit_of_requests_of_all_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two instances has two active requests. Of five requests that is the maximum."""
    monkeypatch.setattr(Share, "limit", 4)
    assert GUESTS.count == 0
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def send(context: WasiContext, nursery: trio.Nursery) -> PendingResponse:
        pending = PendingResponse()
        message = Request("GET", "http", f"127.0.0.1:{port}", "/", [], Body.empty())
        start(context.http, nursery, message, RequestOptions(), pending)
        return pending

    with listener, trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            contexts = [WasiContext(WasiOptions(), nursery=nursery) for _ in range(2)]
            under_way = [send(context, nursery) for context in contexts for _ in range(2)]
            peers = [await trio.to_thread.run_sync(listener.accept) for _ in under_way]
            assert GUESTS.count == 4
            refused = send(contexts[0], nursery)
            await refused.wait_outcome()
            assert isinstance(refused.outcome, HttpError)
            assert refused.outcome.code.case == "connection-limit-reached"
            under_way[3].scope.cancel()
            while GUESTS.count == 4:
                await trio.lowlevel.checkpoint()
            again = send(contexts[0], nursery)
            peer, _ = await trio.to_thread.run_sync(listener.accept)
            peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            await again.wait_outcome()
            assert isinstance(again.outcome, Response)
            for sock, _ in peers:
                sock.close()
            peer.close()
            nursery.cancel_scope.cancel()
    assert GUESTS.count == 0


@linux
async def test_a_server_raises_its_limit_of_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(256, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        async with command(tmp_path, on_disk(tmp_path, "hello")) as server:
            assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@linux
async def test_connections_wait_for_descriptors(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "hello")) as server:
        assert (await server.ask()).status == 200
        pid = server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, before[1]))
        # Fill gaps below.
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(highest + 1)]
        async with server.client() as waiting:
            await server.said("Connections wait until others close: Too many open files")
            for client in clients:
                client.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            assert (await waiting.ask("/")).status == 200
        assert server.stderr.count("Connections wait") == 1
        assert (await server.ask()).status == 200


@contextmanager
def without_standard_streams(*options: str) -> Iterator[tuple[int, int]]:
    """Start a server with descriptors 0 to 2 closed. Yield its process and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "wasi_trio", "serve", "--addr", f"127.0.0.1:{port}", *options]
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command])
    try:
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _children(pid: int) -> list[str]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [child for thread in threads for child in (thread / "children").read_text().split()]


@linux
@pytest.mark.parametrize("workers", [1, 2])
async def test_closed_standard_streams_are_not_reused_for_clients(tmp_path: Path, workers: int) -> None:
    """The guest prints. Its output must not go to a socket with the number of a standard stream."""
    toml = tmp_path / "hypercorn.toml"
    toml.write_text(f"workers = {workers}\n")
    options = ["--hypercorn-config", str(toml), str(on_disk(tmp_path, "stdout"))]
    with without_standard_streams(*options) as (pid, port), trio.fail_after(PATIENCE):
        while True:
            try:
                async with Client(port) as client:
                    answer = await client.ask("/")
                break
            except OSError:
                await trio.sleep(0.01)  # nothing announces that it listens
        for _ in range(20):
            assert answer.status == 200
            assert answer.body == b"printed\n"
            async with Client(port) as client:
                answer = await client.ask("/")
        children = _children(pid)
        assert len(children) == (workers if workers > 1 else 0)
        for process in [str(pid), *children]:
            assert {os.readlink(f"/proc/{process}/fd/{number}") for number in range(3)} == {"/dev/null"}
