"""Shutdown: active requests finish, unless a second signal arrives."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.e2e.process import Process, command, on_disk
from tests.e2e.support import Client, guest, until
from wasi_trio.serve.pool._failures import GuestFailed
from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._options import HandlerOptions
from wasi_trio.wasi.http._body import Body
from wasi_trio.wasi.http._messages import Request, Response


async def start_echo(client: Client) -> None:
    """Have the server echo a first chunk, and leave the request open."""
    await client.start("/echo", "POST", ("transfer-encoding", "chunked"))
    await client.write(b"first")
    assert (await client.head()).status == 200
    assert await client.content(5) == b"first"


async def refuses_connections(server: Process) -> None:
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        except OSError:
            return
        await trio.aclose_forcefully(stream)


async def finish_echo(client: Client) -> None:
    await client.write(b"second")
    assert await client.content(6) == b"second"
    await client.end()
    assert type(await client.event()).__name__ == "EndOfMessage"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stream_finishes_after_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "echo")) as server, server.client() as client:
        await start_echo(client)
        server.signal(number)
        await server.said("Shutting down")
        await refuses_connections(server)
        await finish_echo(client)
        assert await server.ended() == 0
        assert "Traceback" not in server.stderr


async def test_a_second_signal_cuts_it(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "echo")) as server, server.client() as client:
        await start_echo(client)
        server.signal(signal.SIGTERM)
        await server.said("Shutting down")
        server.signal(signal.SIGTERM)
        await server.ended()
        with pytest.raises(Exception, match="peer closed connection without sending complete message body"):
            await client.event()
        assert "Traceback" not in server.stderr


async def test_slow_requests_are_cut(tmp_path: Path) -> None:
    options = ["--drain-timeout", "100ms"]
    async with command(tmp_path, on_disk(tmp_path, "echo"), *options) as server, server.client() as client:
        await start_echo(client)
        server.signal(signal.SIGTERM)
        with pytest.raises(Exception, match="peer closed connection without sending complete message body"):
            await client.event()
        assert await server.ended() == 0
        assert "Traceback" not in server.stderr


async def test_a_second_signal_ends_a_spinning_guest(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "spin")) as server, server.client() as client:
        await client.start("/1")
        assert await client.head()
        server.signal(signal.SIGTERM)
        await server.said("Shutting down")
        server.signal(signal.SIGTERM)
        await server.ended()
        assert "Traceback" not in server.stderr


async def test_a_connection_to_the_shutdown_address(tmp_path: Path) -> None:
    options = ["--shutdown-addr", "127.0.0.1:0"]
    async with command(tmp_path, on_disk(tmp_path, "echo"), *options) as server, server.client() as client:
        await start_echo(client)
        async with await trio.open_tcp_stream("127.0.0.1", server.shutdown_port):
            await refuses_connections(server)
            await finish_echo(client)
            assert await server.ended() == 0
        assert "Traceback" not in server.stderr


async def test_an_idle_connection_does_not_delay_it(tmp_path: Path) -> None:
    async with command(tmp_path, on_disk(tmp_path, "hello")) as server, server.client() as client:
        assert (await client.ask("/")).status == 200
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert await client.stream.receive_some() == b""


def request(path: str) -> Request:
    return Request("GET", "http", "x", path, [], Body.empty())


async def test_leaving_the_handler_waits_for_active_requests(autojump_clock: trio.abc.Clock) -> None:
    responses: list[Response] = []
    async with trio.open_nursery() as nursery:
        async with ProxyHandler(guest("sleep"), HandlerOptions(max_instance_reuse_count=9)) as handler:

            async def ask(path: str) -> None:
                responses.append(await handler.handle(request(path)))

            for milliseconds in (1000, 2000, 3000):
                nursery.start_soon(ask, f"/{milliseconds}")
            await until(lambda: handler.active == 3)
        assert handler.active == 0
    assert [response.status for response in responses] == [200, 200, 200]


async def test_leaving_the_handler_waits_for_queued_requests(autojump_clock: trio.abc.Clock) -> None:
    responses: list[Response] = []
    async with trio.open_nursery() as nursery:
        async with ProxyHandler(guest("sleep"), HandlerOptions(max_concurrent_requests=1)) as handler:

            async def ask(path: str) -> None:
                responses.append(await handler.handle(request(path)))

            for milliseconds in (1000, 2000, 3000):
                nursery.start_soon(ask, f"/{milliseconds}")
            await until(lambda: handler.active == 1)
            await trio.testing.wait_all_tasks_blocked()
        assert handler.active == 0
    assert [response.status for response in responses] == [200, 200, 200]


@pytest.mark.parametrize(
    ("name", "path", "answered"),
    [("exit", "/", False), ("exit", "/2", True), ("p3_exit", "/0", False), ("p3_exit", "/2", True)],
)
async def test_guests_that_exit_while_the_handler_is_left(name: str, path: str, answered: bool) -> None:
    """Each ends its own instance and request. The next waiting request gets a new instance, until none is left."""
    async with ProxyHandler(guest(name), HandlerOptions(max_concurrent_requests=1)) as handler:
        exchanges = [handler.submit(request(path)) for _ in range(3)]
        assert not any(exchange.answered for exchange in exchanges)
    assert (handler.active, handler.started) == (0, 3)
    for exchange in exchanges:
        if answered:
            assert (await exchange.wait()).status == 200
        else:
            with pytest.raises(GuestFailed, match="exited with code 0"):
                await exchange.wait()


@pytest.mark.parametrize("name", ["spin", "spin_in_start", "p3_spin", "p3_spin_in_start"])
async def test_cancelling_the_handler_ends_requests_at_once(name: str) -> None:
    with trio.CancelScope() as scope:
        async with ProxyHandler(guest(name)) as handler, trio.open_nursery() as nursery:
            nursery.start_soon(handler.handle, request("/"))
            nursery.start_soon(handler.handle, request("/"))
            await until(lambda: handler.active == 2)
            scope.cancel()
    assert handler.active == 0
